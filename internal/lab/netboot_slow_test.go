//go:build boot && slow

package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/lab/network"
	"github.com/strongroom/strongroom/internal/netboot"
)

// TestBootNetbootBIOS is TestBootNetboot without UEFI: iPXE in the ROM of the network card loads kernel, initrd and root. A second
// start finds the data of the first.
func TestBootNetbootBIOS(t *testing.T) {
	t.Parallel()
	dir, m := bundleOf(t)
	config := Config{Network: netSegment(t, dir, m, debianIPXE(t), nil), BIOS: true, UUID: NewUUID(), Extra: []*Disk{emptyData(t)}}
	node := start(t, config)
	first := verdictOf(t, node)
	if first.Verdict != check.Pass || first.Host.RootHash != m.RootHash {
		t.Errorf("root hash %s, %v", first.Host.RootHash, &VerdictError{first})
	}
	powerOff(t, node)
	node.Close()
	node = start(t, config)
	again := verdictOf(t, node)
	if again.Verdict != check.Pass || again.Host.NodeID == "" || again.Host.NodeID != first.Host.NodeID {
		t.Errorf("node id %q, then %q; %v", first.Host.NodeID, again.Host.NodeID, &VerdictError{again})
	}
}

// TestBootNetbootHTTP is TestBootNetboot without iPXE: the firmware loads the unified kernel image by HTTP itself.
func TestBootNetbootHTTP(t *testing.T) {
	t.Parallel()
	dir, m := bundleOf(t)
	segment := netSegment(t, dir, m, debianIPXE(t), nil)
	lease, err := segment.Lease("node-1", PortAPI)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range m.Files {
		if f.Role == netboot.UnifiedKernel {
			segment.SetBoot(lease, network.Boot{HTTP: fmt.Sprintf("http://%s/%s", network.Host, f.Name)})
		}
	}
	node := start(t, Config{Network: segment, HTTPBoot: true, UUID: NewUUID(), Extra: []*Disk{emptyData(t)}})
	document := verdictOf(t, node)
	if document.Verdict != check.Pass || document.Host.RootHash != m.RootHash {
		t.Errorf("root hash %s, %v", document.Host.RootHash, &VerdictError{document})
	}
	powerOff(t, node)
}

// What is served is not what was baked: no node comes up.
func TestBootNetbootRefuses(t *testing.T) {
	t.Parallel()
	dir, m := bundleOf(t)
	nameOf := func(role netboot.Role) string {
		for _, f := range m.Files {
			if f.Role == role {
				return "/" + f.Name
			}
		}
		t.Fatalf("no %s", role)
		return ""
	}
	// instead answers one path with other bytes.
	instead := func(path string, change func([]byte) []byte) func(http.Handler) http.Handler {
		content, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		changed := change(content)
		if bytes.Equal(content, changed) {
			t.Fatalf("%s is as it was", path)
		}
		return func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == path {
					http.ServeContent(w, r, path, time.Time{}, bytes.NewReader(changed))
					return
				}
				h.ServeHTTP(w, r)
			})
		}
	}
	// behindSuperblock is in the first block of the root, which no boot can do without.
	flip := func(content []byte) []byte {
		at := bytes.Index(content, []byte("hsqs"))
		if at < 0 {
			t.Fatal("no squashfs in the archive")
		}
		changed := bytes.Clone(content)
		changed[at+2048] ^= 0xff
		return changed
	}
	otherHash := func(content []byte) []byte {
		return bytes.ReplaceAll(content, []byte("roothash="+m.RootHash), []byte("roothash="+strings.Repeat("ab", 32)))
	}
	for name, c := range map[string]struct {
		change func(http.Handler) http.Handler
		bios   bool
	}{
		"one byte of the root":  {instead(nameOf(netboot.Root), flip), true},
		"another root hash":     {instead(nameOf(netboot.UnifiedKernel), otherHash), false},
		"another hash for iPXE": {instead("/"+netboot.ScriptName, otherHash), true},
		"a signature to be checked": {instead("/"+netboot.ScriptName, func([]byte) []byte {
			// Debian's iPXE is built without imgverify, and so stops here.
			return []byte("#!ipxe\nkernel " + nameOf(netboot.Kernel)[1:] + "\nimgverify x x.sig\nboot\n")
		}), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			change := c.change
			if name == "another root hash" {
				// Without Secure Boot iPXE's command line is the one that counts, so that has to be another one too.
				script := instead("/"+netboot.ScriptName, otherHash)
				uki := c.change
				change = func(h http.Handler) http.Handler { return script(uki(h)) }
			}
			node := start(t, Config{Network: netSegment(t, dir, m, debianIPXE(t), change), BIOS: c.bios, UUID: NewUUID(), Extra: []*Disk{emptyData(t)}})
			requireNoNode(t, node)
		})
	}
}

// requireNoNode watches a machine for as long as a node would take to come up.
func requireNoNode(t *testing.T, node *Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), refusalTimeout)
	defer cancel()
	for {
		if _, _, err := node.Get(ctx, PortTelemetry, "/livez"); err == nil {
			t.Fatal("the node came up on what was not baked")
		}
		select {
		case <-ctx.Done():
			t.Logf("it has not come up in %s: %s", refusalTimeout, node.LastLine())
			return
		case <-node.Done():
			t.Logf("it went down after %.0f s", node.Uptime().Seconds())
			return
		case <-time.After(pollInterval):
		}
	}
}

// A disk with somebody else's data, as the selector names it, is as it was after a node has started beside it, and the node says why it
// stays down.
func TestBootNetbootForeignDisk(t *testing.T) {
	t.Parallel()
	dir, m := bundleOf(t)
	base := filepath.Join(t.TempDir(), "foreign.raw")
	if err := os.WriteFile(base, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(base, 3<<30); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), "mkfs.ext4", "-q", "-F", "-L", "precious", base); err != nil {
		t.Fatal(err)
	}
	disk := newDisk(t, base)
	disk.Serial = "data"
	before := digestOf(t, disk)
	node := start(t, Config{Network: netSegment(t, dir, m, debianIPXE(t), nil), UUID: NewUUID(), Extra: []*Disk{disk}})
	awaitShown(t, node, bootTimeout, "the data disk: /dev/vda is not touched: it holds data: ext4", "Dependency failed for \x1b[0;1;39mvault.service")
	if ports, err := node.Scan(t.Context(), []int{PortAPI, PortRaft}); err != nil || len(ports.Open) > 0 {
		t.Errorf("open ports %+v, error %v: a server runs", ports, err)
	}
	node.Close()
	if after := digestOf(t, disk); after != before {
		t.Errorf("the disk is %s, and was %s", after, before)
	}
}

// digestOf is the SHA-256 of what a guest sees on a disk.
func digestOf(t *testing.T, disk *Disk) string {
	t.Helper()
	raw := filepath.Join(t.TempDir(), "raw")
	if output, err := exec.CommandContext(t.Context(), "qemu-img", "convert", "-O", "raw", disk.Path, raw).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img: %v: %s", err, output)
	}
	f, err := os.Open(raw)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	defer os.Remove(raw)
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", hash.Sum(nil))
}

// TestClusterNetbooted has a node that started over the network join one that started from its disk: the same root under both.
func TestClusterNetbooted(t *testing.T) {
	dir, m := bundleOf(t)
	c := newCluster(t, ClusterOptions{
		Nodes: 2, MemoryMiB: 2048,
		Netboot: map[string]network.Boot{"node-2": {UEFI: "snponly.efi", Script: "http://host.lab/" + netboot.ScriptName}},
	})
	serveBundle(t, c.Network(), dir, m, debianIPXE(t), nil)
	ctx := bringUp(t, c)
	requireReady(t, ctx, c, "node-1", "node-2")
}
