//go:build boot && slow

package lab

import (
	"path/filepath"
	"testing"
)

// TestBootProfiles boots what `make test` has no time for: the other distribution, Vault with its memory locked, and the
// images of the other platforms, as far as a virtual machine can boot them. Every must control passes, Vault works in its sandbox, and the node shuts down in order.
func TestBootProfiles(t *testing.T) {
	for _, r := range []recipe{
		{name: "bookworm", distribution: "debian/bookworm"},
		{name: "mlock", parameters: map[string]string{"memory_lock": "on"}},
		{name: "cloud", platform: "cloud"},
		{name: "metal", platform: "metal"},
		{name: "bookworm-mlock", distribution: "debian/bookworm", parameters: map[string]string{"memory_lock": "on"}},
	} {
		t.Run(r.name, func(t *testing.T) {
			if err := bake(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			node := start(t, Config{Disk: newDisk(t, filepath.Join(workDir, r.name, "disk.raw")), UUID: NewUUID()})
			requirePass(t, verdictOf(t, node))
			underLoad(t, node)
			powerOff(t, node)
			requireUndisturbed(t, node, "vault")
		})
	}
}
