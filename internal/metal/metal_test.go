package metal

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/distribution"
)

func find(t *testing.T, id string) distribution.Distribution {
	t.Helper()
	d, err := distribution.Find(distribution.Installed, id)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// config is one that holds water.
func config(t *testing.T, id string) Config {
	t.Helper()
	c := Config{
		Distribution: find(t, id), URL: "https://srv.example/node", Disk: "/dev/disk/by-id/ata-DISK_1234", Data: "/var/lib/vault", Audit: "/var/log/vault",
	}
	if Installer(c.Distribution) == Kickstart {
		c.Source = "https://mirror.example/9/BaseOS/x86_64/os"
	}
	if err := c.Complete(); err != nil {
		t.Fatal(err)
	}
	return c
}

var someDigest = strings.Repeat("0123456789abcdef", 4)

func TestRenderedFilesAreStrict(t *testing.T) {
	for _, id := range []string{"debian/bookworm", "debian/trixie", "ubuntu/noble", "rhel/10", "rhel/9"} {
		c := config(t, id)
		if err := Check("x", render(c, someDigest)); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// A config that does not hold water is refused with all that is wrong, each mistake by its attribute.
func TestCompleteRefuses(t *testing.T) {
	c := Config{
		Distribution: find(t, "rhel/9"), URL: "http://srv.example/$(id)", Disk: "/dev/sda", CA: "x", Source: "http://mirror.example/BaseOS", Proxy: "proxy:3128",
		Network: &Network{Address: "192.0.2.10", Gateway: "198.51.100.1", Nameserver: []string{"one"}},
	}
	err := c.Complete()
	if err == nil {
		t.Fatal("it passes")
	}
	for _, attribute := range []string{"url: ", "disk: ", "ca: ", "source: ", "proxy: ", "network.address: ", "network.gateway: ", "network.nameservers: "} {
		if !strings.Contains(err.Error(), attribute) {
			t.Errorf("nothing of %q: %v", attribute, err)
		}
	}
	for _, disk := range []string{"/dev/disk/by-id/ata-X-part1", "/dev/disk/by-id/../sda", "/dev/disk/by-id/a;reboot", "/dev/disk/by-path/x"} {
		c := Config{Distribution: find(t, "debian/trixie"), URL: "https://srv.example/node", Disk: disk}
		if err := c.Complete(); err == nil || !strings.Contains(err.Error(), "disk: ") {
			t.Errorf("%s: %v", disk, err)
		}
	}
}

// A static address reaches each installer, and the system where the installer's own files go.
func TestStaticNetwork(t *testing.T) {
	for id, wants := range map[string][]string{
		"debian/trixie": {"netcfg/get_netmask string 255.255.254.0", "netcfg/get_nameservers string 192.0.2.53 192.0.2.54"},
		"rhel/9":        {"--ip=192.0.2.10 --netmask=255.255.254.0 --gateway=192.0.2.1 --nameserver=192.0.2.53,192.0.2.54"},
		"ubuntu/noble":  {"addresses: [192.0.2.10/23]", "via: 192.0.2.1"},
	} {
		c := config(t, id)
		c.Network = &Network{Address: "192.0.2.10/23", Gateway: "192.0.2.1", Nameserver: []string{"192.0.2.53", "192.0.2.54"}}
		if err := c.Complete(); err != nil {
			t.Fatal(err)
		}
		text := render(c, someDigest)
		if err := Check("x", text); err != nil {
			t.Errorf("%s: %v", id, err)
		}
		for _, want := range wants {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s lacks %q", id, want)
			}
		}
		script := string(Script(c, nil))
		if want := id != "rhel/9"; strings.Contains(script, "Address=192.0.2.10/23") != want {
			t.Errorf("%s: the script says of the network %q", id, networkFile(c))
		}
	}
}

// scripts are the shell texts of what is rendered.
func scripts(t *testing.T, c Config) map[string]string {
	t.Helper()
	return map[string]string{
		"script": string(Script(c, []Served{{"a", someDigest, "b"}})),
		"disk":   "set -eu\n" + strings.Join(checkDisk(c, "echo $reason; exit 1"), "\n"),
		"joined": "set -eu; " + strings.Join(checkDisk(c, "echo $reason; exit 1"), "; "),
		"fetch":  "set -eu; " + strings.Join(fetchScript(c, someDigest, "wget"), "; "),
		"curl":   "set -eu\n" + strings.Join(fetchScript(c, someDigest, "curl"), "\n"),
	}
}

// The shells of the installers read what is rendered, and so does shellcheck.
func TestScriptsAreShell(t *testing.T) {
	checkers := map[string][]string{"dash": {"dash", "-n"}, "busybox": {"busybox", "sh", "-n"}, "bash": {"bash", "--posix", "-n"}, "shellcheck": {"shellcheck", "--shell=sh", "--severity=warning"}}
	for _, id := range []string{"debian/trixie", "ubuntu/noble", "rhel/10", "rhel/9"} {
		for name, text := range scripts(t, config(t, id)) {
			if strings.ContainsAny(text, "'") && (name == "joined" || name == "fetch") {
				t.Errorf("%s: %s: a single quote ends the command of a preseed: %s", id, name, text)
			}
			file := filepath.Join(t.TempDir(), "script")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			for checker, argv := range checkers {
				if _, err := exec.LookPath(argv[0]); err != nil {
					t.Logf("%s is not here", checker)
					continue
				}
				if out, err := exec.Command(argv[0], append(argv[1:], file)...).CombinedOutput(); err != nil {
					t.Errorf("%s: %s: %s: %v\n%s", id, name, checker, err, out)
				}
			}
		}
	}
}

// debconf reads the preseed.
func TestPreseedIsDebconf(t *testing.T) {
	if _, err := exec.LookPath("debconf-set-selections"); err != nil {
		t.Skip("debconf-set-selections is not here")
	}
	cmd := exec.Command("debconf-set-selections", "--checkonly")
	cmd.Stdin = strings.NewReader(string(render(config(t, "debian/trixie"), someDigest)))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}

// pykickstart reads the kickstart as the releases do. Debian does not have it.
func TestKickstartIsKickstart(t *testing.T) {
	if _, err := exec.LookPath("ksvalidator"); err != nil {
		t.Skip("ksvalidator (pykickstart) is not here")
	}
	for id, version := range map[string]string{"rhel/9": "RHEL9", "rhel/10": "RHEL10"} {
		file := filepath.Join(t.TempDir(), "ks.cfg")
		if err := os.WriteFile(file, render(config(t, id), someDigest), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("ksvalidator", "--followincludes", "--version", version, file).CombinedOutput(); err != nil || strings.Contains(string(out), "eprecat") {
			t.Errorf("%s: %v: %s", id, err, out)
		}
	}
}
