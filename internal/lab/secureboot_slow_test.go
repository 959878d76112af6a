//go:build boot && slow

package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/control"
)

const everything = true

// TestSecureBoot boots a node on a machine that has enrolled the bundle and has a TPM. The node sees both, and whoever
// asks its TPM finds what the bake has calculated.
func TestSecureBoot(t *testing.T) {
	t.Parallel()
	dir, _ := signedImage(t)
	tpm, err := NewTPM(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	node := start(t, Config{
		Disk: newDisk(t, filepath.Join(dir, "disk.raw")), UUID: NewUUID(), SecureBoot: enrolled(t, dir), TPM: tpm,
	})
	document := verdictOf(t, node)
	requirePass(t, document)
	for _, id := range []string{"firmware-secure-boot-on", "firmware-tpm-present"} {
		requireOutcome(t, document, id, control.Pass)
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
