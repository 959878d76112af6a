//go:build boot && slow

package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const everything = true

// TestSecureBoot boots a node on a machine that has enrolled the bundle.
func TestSecureBoot(t *testing.T) {
	t.Parallel()
	dir, _ := signedImage(t)
	node := start(t, Config{Disk: newDisk(t, filepath.Join(dir, "disk.raw")), UUID: NewUUID(), SecureBoot: enrolled(t, dir)})
	requirePass(t, verdictOf(t, node))
	console, err := os.ReadFile(node.ConsoleLog())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(console), "Secure boot enabled") {
		t.Error("the console does not show that the kernel has seen Secure Boot")
	}
	powerOff(t, node)
}
