//go:build boot && slow

package lab

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/lab/network"
	"github.com/strongroom/strongroom/internal/netboot"
)

// installer is a bundle that installs, the image in it, and the server that has it.
type installer struct {
	dir       string
	bundle    netboot.Manifest
	authority *Authority
}

func newInstaller(t *testing.T) installer {
	t.Helper()
	in := installer{authority: newAuthority(t), dir: filepath.Join(workDir, "install", image.FormatNetboot)}
	if err := bake(t.Context(), recipe{
		name: "install", parameters: map[string]string{"node_config_ca": string(in.authority.CA())},
		formats: []string{image.FormatRaw, image.FormatNetboot},
		netboot: image.Netboot{InstallDisk: "id:virtio-data", InstallURL: "https://host.lab:8443/images"},
	}); err != nil {
		t.Fatal(err)
	}
	var err error
	if in.bundle, err = netboot.Verify(t.Context(), os.DirFS(in.dir)); err != nil {
		t.Fatal(err)
	}
	return in
}

// segment is a network with the bundle, and with a server that gives the image as change has it.
func (in installer) segment(t *testing.T, change func(http.Handler) http.Handler) *network.Network {
	t.Helper()
	segment := netSegment(t, in.dir, in.bundle, debianIPXE(t), nil)
	files := http.StripPrefix("/images/", http.FileServerFS(os.DirFS(in.dir)))
	if change != nil {
		files = change(files)
	}
	serve(t, segment, in.authority, files)
	return segment
}

func (in installer) start(t *testing.T, change func(http.Handler) http.Handler, disk *Disk) *Node {
	t.Helper()
	return start(t, Config{Network: in.segment(t, change), UUID: NewUUID(), Extra: []*Disk{disk}})
}

// stalled gives so many bytes of the image and then nothing more.
func stalled(bytes int64) func(http.Handler) http.Handler {
	return func(files http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			files.ServeHTTP(&limited{w, r.Context(), bytes}, r)
		})
	}
}

type limited struct {
	http.ResponseWriter
	ctx  context.Context
	left int64
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= int64(len(p)); l.left < 0 {
		l.ResponseWriter.(http.Flusher).Flush()
		<-l.ctx.Done()
		return 0, io.ErrClosedPipe
	}
	return l.ResponseWriter.Write(p)
}

// installTimeout is for an emulated machine that decrypts, hashes and reads back 362 MiB on one processor.
const installTimeout = 20 * time.Minute

// requireDown waits until the machine has restarted, which ends it here.
func requireDown(t *testing.T, node *Node) {
	t.Helper()
	select {
	case <-node.Done():
	case <-time.After(installTimeout):
		t.Fatalf("it has not restarted within %s: %s", installTimeout, node.LastLine())
	}
	t.Logf("it restarted %.0f s after power-on", node.Uptime().Seconds())
}

// TestBootNetbootInstall cuts the power in the middle of an installation: the disk starts nothing. The next start over the network begins
// anew, after a server that breaks off, and then the node starts from its disk alone.
func TestBootNetbootInstall(t *testing.T) {
	in := newInstaller(t)
	disk, err := NewEmptyDisk(t.Context(), t.TempDir(), "data", 5<<30)
	if err != nil {
		t.Fatal(err)
	}
	cut := in.start(t, stalled(100<<20), disk)
	awaitShown(t, cut, bootTimeout, "64 of ")
	if err := cut.Kill(); err != nil {
		t.Fatal(err)
	}
	alone := start(t, Config{Disk: disk, UUID: NewUUID()})
	awaitShown(t, alone, bootTimeout, "BdsDxe: failed to load Boot0001", ": Not Found") // there is no more to wait for: the firmware has gone on to the network
	alone.Close()
	var asked atomic.Int32
	again := in.start(t, func(files http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if asked.Add(1) > 1 {
				files.ServeHTTP(w, r)
				return
			}
			for _, f := range in.bundle.Files {
				if f.Role == netboot.Disk {
					w.WriteHeader(http.StatusOK)
					_, _ = io.CopyN(w, zeros{}, 2<<20)
				}
			}
		})
	}, disk)
	log := again.ConsoleLog()
	requireDown(t, again)
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"was cut short: it begins anew", "the image broke off after ", "/dev/vda has the image"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the console has not shown %q", want)
		}
	}
	installed := start(t, Config{Disk: disk, UUID: NewUUID()})
	document := verdictOf(t, installed)
	if document.Verdict != check.Pass || document.Host.RootHash != in.bundle.RootHash {
		t.Errorf("root hash %s, %v", document.Host.RootHash, &VerdictError{document})
	}
	powerOff(t, installed)
}

// TestBootNetbootInstallRefuses starts a bundle that installs beside disks that it leaves as they are, bit for bit: one that has the
// image already, and one with somebody else's data.
func TestBootNetbootInstallRefuses(t *testing.T) {
	in := newInstaller(t)
	foreign := filepath.Join(t.TempDir(), "foreign.raw")
	if err := os.WriteFile(foreign, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(foreign, 5<<30); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), "mkfs.ext4", "-q", "-F", "-L", "precious", foreign); err != nil {
		t.Fatal(err)
	}
	for says, base := range map[string]string{
		"/dev/vda has this image already, and nothing was written":                 filepath.Join(workDir, "install", "disk.raw"),
		"nothing is installed: /dev/vda is not touched: it holds data: ext4 0x438": foreign,
	} {
		disk := newDisk(t, base)
		disk.Serial = "data"
		before := digestOf(t, disk)
		node := in.start(t, nil, disk)
		awaitShown(t, node, bootTimeout, says)
		node.Close()
		if after := digestOf(t, disk); after != before {
			t.Errorf("the disk is %s, and was %s", after, before)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
