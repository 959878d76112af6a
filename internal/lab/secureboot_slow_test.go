//go:build boot && slow

package lab

import (
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/measure"
	identity "github.com/strongroom/strongroom/internal/node"
)

const everything = true

// TestSecureBoot boots a node on a machine that has enrolled the bundle and has a TPM. The node sees both, and that what was measured is what
// the bake has calculated; so does whoever asks its TPM.
func TestSecureBoot(t *testing.T) {
	t.Parallel()
	dir, _ := signedImage(t)
	measurements, err := os.ReadFile(filepath.Join(dir, measure.FileName))
	if err != nil {
		t.Fatal(err)
	}
	tpm, err := NewTPM(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	node := start(t, Config{
		Disk: newDisk(t, filepath.Join(dir, "disk.raw")), UUID: NewUUID(), SecureBoot: enrolled(t, dir), TPM: tpm,
		Credentials: []Credential{{identity.CredentialMeasurements, identity.NewSecret(measurements)}},
	})
	document := verdictOf(t, node)
	requirePass(t, document)
	for _, id := range []string{"firmware-secure-boot-on", "firmware-tpm-present", "firmware-measurements-expected"} {
		requireOutcome(t, document, id, control.Pass)
	}
	judged := map[string]bool{}
	for _, o := range controlOf(t, document, "firmware-measurements-expected").Observations {
		judged[path.Base(o.Source)] = true
	}
	for _, register := range []string{"4", "7", "11"} {
		if !judged[register] {
			t.Errorf("PCR %s was not judged: %v", register, judged)
		}
	}
	requireAttested(t, node, dir)
	console, err := os.ReadFile(node.ConsoleLog())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(console), "Secure boot enabled") {
		t.Error("the console does not show that the kernel has seen Secure Boot")
	}
	powerOff(t, node)
}
