package bootstrap

import (
	"os"
	"strings"
	"testing"
)

// What the agents may is stated once more, in the documentation.
func TestAgentPolicyIsTheDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/node.md")
	if err != nil {
		t.Fatal(err)
	}
	policy, err := policyFiles.ReadFile("policies/strongroom-agent.hcl")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "```hcl\n"+string(policy)+"```") {
		t.Error("the policy strongroom-agent and docs/node.md differ")
	}
}

// So is what takes snapshots.
func TestSnapshotPolicyIsTheDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/snapshot.md")
	if err != nil {
		t.Fatal(err)
	}
	policy, err := policyFiles.ReadFile("policies/" + snapshotPolicy + ".hcl")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "```hcl policy\n"+string(policy)+"```") {
		t.Error("the policy strongroom-snapshot and docs/snapshot.md differ")
	}
}

func FuzzProgress(f *testing.F) {
	f.Add([]byte(`{"node_id":"a","began":"2026-11-22T00:00:00Z","answered":true,"envelopes":[{"what":"share a"}]}`))
	f.Add([]byte(`{"more":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parseProgress(b)
		if (p == nil) == (err == nil) {
			t.Errorf("%v, %v", p, err)
		}
	})
}

func FuzzHidden(f *testing.F) {
	f.Add([]byte(`"hvs.abc"`))
	f.Add([]byte(`"a\u0022"`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var h hidden
		if err := h.UnmarshalJSON(b); err == nil && string(b) != `"`+string(h)+`"` {
			t.Errorf("%q became %q", b, h)
		}
	})
}
