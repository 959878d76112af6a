package plugin

import (
	"errors"
	"strings"
	"testing"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/strongroom/strongroom/internal/node/nodetest"
)

func TestPrepareNodeConfigCA(t *testing.T) {
	plain, err := prepare(t, minimal())
	if err != nil {
		t.Fatal(err)
	}
	ca := nodetest.NewCA(t, nodetest.Today())
	baked, err := prepare(t, with(map[string]any{"node_config_ca": writeFile(t, "ca.pem", "# Acme\n"+string(ca.PEM))}))
	if err != nil {
		t.Fatal(err)
	}
	again, err := prepare(t, with(map[string]any{"node_config_ca": writeFile(t, "ca.pem", string(ca.PEM)+"\n")}))
	if err != nil {
		t.Fatal(err)
	}
	if a, b := plain.plan.baselineDigest, baked.plan.baselineDigest; a == b {
		t.Error("the baseline does not tell")
	}
	if a, b := baked.plan.baselineDigest, again.plan.baselineDigest; a != b {
		t.Error("what stands between the certificates changes the baseline")
	}
	if owner := baked.plan.spec.Overlay.Owner("/usr/lib/strongroom/node-ca.pem"); owner != "node-config-authority-baked" {
		t.Errorf("the file belongs to %q", owner)
	}
	leaf, key := ca.Issue(nodetest.Today(), "config.example")
	for name, c := range map[string]struct{ file, says string }{
		"no such file": {"/nowhere/ca.pem", "no such file"},
		"empty":        {writeFile(t, "ca.pem", ""), "is empty"},
		"no PEM":       {writeFile(t, "ca.pem", "ca"), "it holds no certificate in PEM"},
		"half a block": {writeFile(t, "ca.pem", string(ca.PEM)+string(ca.PEM[:200])), "ends in a broken PEM block"},
		"a key":        {writeFile(t, "ca.pem", string(key)), `a PEM block of type "PRIVATE KEY"`},
		"a leaf":       {writeFile(t, "ca.pem", string(leaf)), "certificate 1 (CN=test node) is not an authority"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := prepare(t, with(map[string]any{"node_config_ca": c.file}))
			var all *packersdk.MultiError
			if !errors.As(err, &all) || len(all.Errors) != 1 {
				t.Fatalf("got %v, want one mistake", err)
			}
			if got := all.Errors[0].Error(); !strings.Contains(got, "node_config_ca: ") || !strings.Contains(got, c.says) {
				t.Errorf("got %q, want node_config_ca and %q", got, c.says)
			}
		})
	}
	_, err = prepare(t, with(map[string]any{"node_config_ca": writeFile(t, "ca.pem", string(ca.PEM)), "parameters": map[string]string{"node_config_ca": string(ca.PEM)}}))
	if err == nil || !strings.Contains(err.Error(), "given as a parameter too") {
		t.Errorf("given twice: %v", err)
	}
}
