//go:build bake

package metal

import (
	"bytes"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/hardening"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/distribution"
	"github.com/strongroom/strongroom/internal/harden"
	"github.com/strongroom/strongroom/internal/harden/hardentest"
	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/overlay"
	"github.com/strongroom/strongroom/internal/server"
)

// bench is a bundle behind a server, and a tree that an installer has made.
type bench struct {
	tree, served, hostcheck string
	config                  Config
	server                  *httptest.Server
	change                  func(w http.ResponseWriter, r *http.Request) bool // answers in place of the server
}

// newBench needs root: the script mounts.
func newBench(t *testing.T) *bench {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts below the tree, as an installer does")
	}
	dir, err := os.MkdirTemp("/var/tmp", "strongroom-metal-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &bench{tree: filepath.Join(dir, "tree"), served: filepath.Join(dir, "served"), hostcheck: filepath.Join(dir, "hostcheck")}
	b.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b.change == nil || !b.change(w, r) {
			http.FileServer(http.Dir(b.served)).ServeHTTP(w, r)
		}
	}))
	b.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	t.Cleanup(b.server.Close)
	build := exec.Command("go", "build", "-trimpath", "-o", b.hostcheck, "../../cmd/hostcheck")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b.config = config(t, "debian/bookworm")
	b.config.URL, b.config.root = b.server.URL, b.tree
	b.config.CA = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.server.Certificate().Raw}))
	b.render(t)
	return b
}

// render writes the bundle anew.
func (b *bench) render(t *testing.T) {
	t.Helper()
	catalogue, err := hardening.Load()
	if err != nil {
		t.Fatal(err)
	}
	stated, err := catalogue.Compile(control.Profile{Server: "vault", Platform: "metal", Layout: distribution.Installed, Distribution: b.config.Distribution.ID})
	if err != nil {
		t.Fatal(err)
	}
	sum, err := stated.Digest()
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := Make(b.config, harden.Spec{
		Overlay:  func(distribution.Distribution) (*overlay.Tree, error) { return stated.Overlay() },
		Programs: []image.Binary{{Source: b.hostcheck, Path: server.Products[0].Binary}, {Source: b.hostcheck, Path: "/usr/bin/hostcheck"}},
		Accounts: []string{"vault"}, Name: "test", Version: "1.0.0",
	}, sum)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Write(b.served, bundle); err != nil {
		t.Fatal(err)
	}
}

// install runs the script in a mount namespace, by a shell such as an installer has.
func (b *bench) install(t *testing.T, shell ...string) (string, error) {
	t.Helper()
	argv := append([]string{"--mount", "--propagation", "private", "sh", "-c", `mount --bind "$0" "$0" && exec "$@"`, b.tree}, shell...)
	out, err := exec.Command("unshare", append(argv, filepath.Join(b.served, ScriptName))...).CombinedOutput()
	return string(out), err
}

// kernel puts into the tree what a machine boots from.
func (b *bench) kernel(t *testing.T) {
	t.Helper()
	for _, name := range []string{"boot/vmlinuz-6.1.0", "boot/initrd.img-6.1.0", "boot/grub/grub.cfg", "boot/efi/EFI/BOOT/BOOTX64.EFI"} {
		file := filepath.Join(b.tree, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("boots"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// bootable lists what the tree could boot from.
func (b *bench) bootable(t *testing.T) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(filepath.Join(b.tree, "boot"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// The script makes of an installer's tree what the provisioner makes of a machine: hostcheck passes it.
func TestInstallScript(t *testing.T) {
	b := newBench(t)
	hardentest.Unpack(t, b.tree)
	// An installer of ours makes no account.
	if out, err := exec.Command("chroot", b.tree, "userdel", "--remove", "build").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b.kernel(t)
	// What Debian's installer leaves behind when its own hooks do not run.
	for _, own := range []string{"etc/dpkg/dpkg.cfg.d/force-unsafe-io", "etc/apt/apt.conf.d/00IgnoreTimeConflict", "etc/apt/apt.conf.d/00trustcdrom"} {
		if err := os.WriteFile(filepath.Join(b.tree, own), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, err := b.install(t, "sh", "-u")
	if err != nil || !strings.Contains(out, "the system is installed and verified") {
		t.Fatalf("%v: %s", err, out[max(0, len(out)-6000):])
	}
	if len(b.bootable(t)) == 0 {
		t.Error("nothing is left to boot")
	}
	for _, gone := range []string{".strongroom-install", "usr/sbin/sshd", "usr/bin/sudo", "etc/ssh", "usr/sbin/policy-rc.d",
		"etc/dpkg/dpkg.cfg.d/force-unsafe-io", "etc/apt/apt.conf.d/00IgnoreTimeConflict", "etc/apt/apt.conf.d/00trustcdrom"} {
		if _, err := os.Lstat(filepath.Join(b.tree, gone)); err == nil {
			t.Errorf("%s is still there", gone)
		}
	}
	if text, err := os.ReadFile(filepath.Join(b.tree, "usr/lib/os-release")); err != nil || !bytes.Contains(text, []byte("IMAGE_VERSION=1.0.0")) {
		t.Errorf("os-release: %s, %v", text, err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(mounts), b.tree) {
		t.Errorf("something is still mounted: %v", err)
	}

	// A secret in the tree is found, and the disk does not boot.
	if err := os.WriteFile(filepath.Join(b.tree, "etc/backup.key"), []byte(secretKey), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err = b.install(t, "sh", "-u")
	if err == nil || !strings.Contains(out, "leaked-secrets-absent") || !strings.Contains(out, "THE INSTALLATION HAS FAILED") {
		t.Errorf("with a private key in it: %v: %s", err, out[max(0, len(out)-3000):])
	}
	if left := b.bootable(t); len(left) > 0 {
		t.Errorf("it could boot from %q", left)
	}
}

// secretKey is the shape of a private key, and none.
const secretKey = "-----BEGIN " + "PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END " + "PRIVATE KEY-----\n"

// Whatever goes wrong on the way is told, ends the installation, and leaves nothing that boots.
func TestInstallScriptFails(t *testing.T) {
	b := newBench(t)
	shells := map[string][]string{"dash": {"dash"}, "busybox": {"busybox", "sh"}, "bash": {"bash", "--posix"}}
	flip := func(name string) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/"+name {
				return false
			}
			content, err := os.ReadFile(filepath.Join(b.served, name))
			if err != nil {
				t.Error(err)
			}
			content[len(content)/2] ^= 1
			w.Write(content)
			return true
		}
	}
	plain := httptest.NewServer(http.FileServer(http.Dir(b.served)))
	defer plain.Close()
	for name, c := range map[string]struct {
		change func(w http.ResponseWriter, r *http.Request) bool
		size   string // of the disk
		url    string
		ca     string
		says   string
	}{
		"one byte of the overlay":   {change: flip(OverlayName), says: "overlay.tar has the SHA-256"},
		"one byte of the hardening": {change: flip(KitName), says: "hardening.tar has the SHA-256"},
		"one byte of hostcheck":     {change: flip("hostcheck"), says: "hostcheck has the SHA-256"},
		"not there":                 {change: func(w http.ResponseWriter, r *http.Request) bool { http.NotFound(w, r); return true }, says: "cannot fetch"},
		"leads to http": {change: func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, plain.URL+r.URL.Path, http.StatusFound)
			return true
		}, says: "and not"},
		"server down":       {url: "https://127.0.0.1:1", says: "cannot fetch https://127.0.0.1:1/overlay.tar"},
		"another authority": {ca: "none", says: "cannot fetch"},
		"full disk":         {size: "8m", says: "cannot fetch"},
		"no system":         {says: "the step packages has failed"},
	} {
		t.Run(name, func(t *testing.T) {
			was := b.config
			defer func() { b.config, b.change = was, nil }()
			if c.url != "" {
				b.config.URL = c.url
			}
			if c.ca != "" {
				b.config.CA = otherAuthority
			}
			b.render(t)
			b.change = c.change
			for shell, argv := range shells {
				if _, err := exec.LookPath(argv[0]); err != nil {
					t.Errorf("%s is not here: make deps", shell)
					continue
				}
				os.RemoveAll(b.tree)
				if err := os.MkdirAll(filepath.Join(b.tree, "usr"), 0o755); err != nil {
					t.Fatal(err)
				}
				for _, d := range []string{"dev", "proc", "sys", "run"} {
					if err := os.MkdirAll(filepath.Join(b.tree, d), 0o755); err != nil {
						t.Fatal(err)
					}
				}
				b.kernel(t)
				var out string
				var err error
				if c.size == "" {
					out, err = b.install(t, argv...)
				} else {
					// The work directory is on a disk that has no room.
					script := `mkdir "$1"/full && mount -t tmpfs -o size="$2" none "$1"/full && cp -a "$1"/usr "$1"/boot "$1"/full/ && mount --move "$1"/full "$1" && shift 2 && "$@"; result=$?; [ ! -e "$TREE/boot/vmlinuz-6.1.0" ] || exit 0; exit $result`
					cmd := exec.Command("unshare", append([]string{"--mount", "--propagation", "private", "sh", "-c", script, "sh", b.tree, c.size}, append(argv, filepath.Join(b.served, ScriptName))...)...)
					cmd.Env = append(os.Environ(), "TREE="+b.tree)
					var text []byte
					text, err = cmd.CombinedOutput()
					out = string(text)
					os.RemoveAll(filepath.Join(b.tree, "boot")) // the disk was another one, and the shell has looked
					os.MkdirAll(filepath.Join(b.tree, "boot"), 0o755)
				}
				if err == nil || !strings.Contains(out, c.says) || !strings.Contains(out, "THE INSTALLATION HAS FAILED") {
					t.Errorf("%s: %v, want %q: %s", shell, err, c.says, out)
				}
				if left := b.bootable(t); len(left) > 0 {
					t.Errorf("%s: it could boot from %q", shell, left)
				}
				if _, err := os.Lstat(filepath.Join(b.tree, ".strongroom-install")); err == nil {
					t.Errorf("%s: what was fetched is left", shell)
				}
			}
		})
	}
}

// otherAuthority has signed nothing here.
const otherAuthority = `-----BEGIN CERTIFICATE-----
MIIBejCCAR+gAwIBAgIURhoiVu+zdTjtNmdfaXdnSB7/ItYwCgYIKoZIzj0EAwIw
EjEQMA4GA1UEAwwHdGVzdC1jYTAeFw0yNjExMjIxNjM3MjJaFw0yNjEyMjIxNjM3
MjJaMBIxEDAOBgNVBAMMB3Rlc3QtY2EwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AASJV+5iCRw/WzwmvG1GgA6xr7nWCEfVq5ENv6Wvo7Ej3qAidi/BglGq+6WNPD5M
sOPqdupESUZAzxh/dishjEEyo1MwUTAdBgNVHQ4EFgQUQqnPzXdBL6zWuT66yJzw
GEAz6zcwHwYDVR0jBBgwFoAUQqnPzXdBL6zWuT66yJzwGEAz6zcwDwYDVR0TAQH/
BAUwAwEB/zAKBggqhkjOPQQDAgNJADBGAiEAurQITr2+c2eUjwBPoL0HG7s6V8Ye
Bw1oNs0bBYlglo8CIQC0Shb7Y45RIU89MkyqpyCHh6plkLr5g8Tt85SSEzbf5w==
-----END CERTIFICATE-----
`
