//go:build boot

package lab

import (
	"context"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/lab/network"
	"github.com/strongroom/strongroom/internal/netboot"
)

// emptyData is the disk that the images of these tests select.
func emptyData(t testing.TB) *Disk {
	t.Helper()
	disk, err := NewEmptyDisk(t.Context(), t.TempDir(), "data", 3<<30)
	if err != nil {
		t.Fatal(err)
	}
	return disk
}

// bundleOf is the netboot bundle of the image under test.
func bundleOf(t testing.TB) (dir string, m netboot.Manifest) {
	t.Helper()
	out, _ := finished(t)
	dir = filepath.Join(out, image.FormatNetboot)
	m, err := netboot.Verify(t.Context(), os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	return dir, m
}

// ipxeDir is where Debian's package has its programs.
const ipxeDir = "/usr/lib/ipxe"

func debianIPXE(t testing.TB) fs.FS {
	t.Helper()
	if _, err := os.Stat(filepath.Join(ipxeDir, "snponly.efi")); err != nil {
		t.Fatalf("%v: install what is missing with `make deps`", err)
	}
	return os.DirFS(ipxeDir)
}

// netSegment is a network whose server has a bundle, over HTTP; change may answer in its place. Firmware gets iPXE by TFTP.
func netSegment(t testing.TB, dir string, m netboot.Manifest, ipxe fs.FS, change func(http.Handler) http.Handler) *network.Network {
	t.Helper()
	segment, err := network.New(testLog())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { segment.Close() })
	serveBundle(t, segment, dir, m, ipxe, change)
	lease, err := segment.Lease("node-1", PortAPI)
	if err != nil {
		t.Fatal(err)
	}
	segment.SetBoot(lease, network.Boot{UEFI: "snponly.efi", BIOS: "undionly.kpxe", Script: "http://host.lab/" + netboot.ScriptName})
	return segment
}

// serveBundle puts a bundle and iPXE onto a network.
func serveBundle(t testing.TB, segment *network.Network, dir string, m netboot.Manifest, ipxe fs.FS, change func(http.Handler) http.Handler) {
	t.Helper()
	bundle, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bundle.Close() })
	handler := netboot.Handler(bundle, m, testLog())
	if change != nil {
		handler = change(handler)
	}
	listener, err := segment.Listen(netip.AddrPortFrom(network.Host, 80))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	if err := segment.ServeFiles(ipxe); err != nil {
		t.Fatal(err)
	}
}

// colors are what systemd writes around names and states on a console.
var colors = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// awaitShown waits until the console has shown each text.
func awaitShown(t *testing.T, node *Node, patience time.Duration, texts ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		raw, err := os.ReadFile(node.ConsoleLog())
		if err != nil {
			t.Fatal(err)
		}
		text := colors.ReplaceAllString(string(raw), "")
		missing := ""
		for _, want := range texts {
			if !strings.Contains(text, want) {
				missing = want
			}
		}
		if missing == "" {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the console has not shown %q within %s; its end:\n%s", missing, patience, text[max(0, len(text)-4000):])
		case <-node.Done():
			t.Fatalf("the node went down, and its console has not shown %q; its end:\n%s", missing, text[max(0, len(text)-4000):])
		case <-time.After(pollInterval):
		}
	}
}

// TestBootNetboot starts a machine that has nothing but an empty disk: its firmware asks DHCP, reads iPXE by TFTP, iPXE
// reads script and unified kernel image over HTTP, and the node runs from memory on the root of the disk image.
func TestBootNetboot(t *testing.T) {
	t.Parallel()
	dir, m := bundleOf(t)
	_, manifest := finished(t)
	node := start(t, Config{Network: netSegment(t, dir, m, debianIPXE(t), nil), UUID: NewUUID(), Extra: []*Disk{emptyData(t)}})
	document := verdictOf(t, node)
	if document.Verdict != check.Pass {
		t.Errorf("%v", &VerdictError{document})
	}
	if document.Host.RootHash != manifest.RootHash {
		t.Errorf("root hash %q, the disk image has %q", document.Host.RootHash, manifest.RootHash)
	}
	powerOff(t, node)
}
