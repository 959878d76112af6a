//go:build boot && install

package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed" // the script
	"encoding/hex"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/lab/network"
)

// The release whose installer is run, and where it and its packages come from.
const (
	installSuite   = "trixie"
	installPackage = "debian-installer-13-netboot-amd64"
	archiveKeys    = "/usr/share/keyrings/debian-archive-keyring.gpg"
)

func debianArchive() string {
	if mirror := os.Getenv("STRONGROOM_MIRROR"); mirror != "" {
		return strings.TrimRight(mirror, "/")
	}
	return "http://deb.debian.org"
}

func cacheDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("STRONGROOM_CACHE")
	if dir == "" {
		t.Fatal("STRONGROOM_CACHE is not set: make test-install sets it")
	}
	dir = filepath.Join(dir, "install")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// mirror hands on what Debian's archive has: indices as they are now, packages from the cache once they were fetched. What it hands on is signed, and checked by who
// gets it.
type mirror struct {
	upstream, dir string
	mu            sync.Mutex
	indices       map[string][]byte // of one run, so that they fit each other
}

func (m *mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	content, status, err := m.get(r.Context(), r.URL.Path)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	if status != http.StatusOK {
		http.Error(w, http.StatusText(status), status)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

func (m *mirror) get(ctx context.Context, path string) ([]byte, int, error) {
	m.mu.Lock()
	content, ok := m.indices[path]
	m.mu.Unlock()
	if ok {
		return content, http.StatusOK, nil
	}
	sum := sha256.Sum256([]byte(path))
	file := filepath.Join(m.dir, hex.EncodeToString(sum[:]))
	pool := strings.Contains(path, "/pool/")
	if pool {
		if content, err := os.ReadFile(file); err == nil {
			return content, http.StatusOK, nil
		}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, m.upstream+path, nil)
	if err != nil {
		return nil, 0, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, 0, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, answer.StatusCode, nil
	}
	if content, err = io.ReadAll(answer.Body); err != nil {
		return nil, 0, err
	}
	if !pool {
		m.mu.Lock()
		m.indices[path] = content
		m.mu.Unlock()
		return content, http.StatusOK, nil
	}
	temporary, err := os.CreateTemp(m.dir, ".partial-")
	if err != nil {
		return nil, 0, err
	}
	defer os.Remove(temporary.Name())
	if _, err := temporary.Write(content); err != nil {
		return nil, 0, err
	}
	if err := temporary.Close(); err != nil {
		return nil, 0, err
	}
	return content, http.StatusOK, os.Rename(temporary.Name(), file)
}

// serveMirror puts the mirror onto the segment: http://host.lab/debian, and the security updates beside it.
func serveMirror(t *testing.T, segment *network.Network) *mirror {
	t.Helper()
	m := &mirror{upstream: debianArchive(), dir: filepath.Join(cacheDir(t), "pool"), indices: map[string][]byte{}}
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	listener, err := segment.Listen(netip.AddrPortFrom(network.Host, 80))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: m, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
	return m
}

//go:embed testdata/installer.sh
var installerScript string

// netbootInstaller gives kernel and initrd of Debian's installer, from its package, with the preseed in the initrd, as docs/metal.md says.
func netbootInstaller(t *testing.T, preseed string) Kernel {
	t.Helper()
	work := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "bash", "-c", installerScript, "installer.sh", debianArchive(), installSuite, installPackage, archiveKeys, cacheDir(t), work, preseed)
	// An ordinary user's PATH often lacks sbin.
	cmd.Env = append(os.Environ(), "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("cannot make the installer: %v: %s", err, out)
	}
	t.Logf("%s", out)
	return Kernel{Image: filepath.Join(work, "linux"), Initrd: filepath.Join(work, "initrd.img")}
}

// serveLog takes the installer's own log, line by line.
func serveLog(t *testing.T, segment *network.Network, take func(line string)) {
	t.Helper()
	packets, err := segment.ListenPacket(netip.AddrPortFrom(network.Host, 514))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		buffer := make([]byte, 1<<16)
		for {
			n, _, err := packets.ReadFrom(buffer)
			if err != nil {
				return
			}
			take(strings.TrimSpace(string(buffer[:n])))
		}
	}()
}
