package harden

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// values are what a plan fills in, with words that a shell could stumble over.
var values = map[string]string{
	"FAMILY": "debian", "NEEDED": "nftables chrony", "UNWANTED": "openssh-server sudo", "ACCOUNTS": "vault", "PROFILES": "/usr/lib/strongroom/apparmor/a.profile",
	"ARGUMENTS": "lockdown=integrity console=ttyS0,115200", "BOOT_COMMAND": quoteAll([]string{"grubby", "--args=a b", "it's"}), "IMAGE_ID": "strongroom", "IMAGE_VERSION": "1.4.0",
	"BUILD_USER": "o'brien", "ARMED": armedDir, "NEED_KIB": "1024", "NOW_SHA256": "0", "LATE_SHA256": "0",
}

func scriptNames(t *testing.T) []string {
	t.Helper()
	entries, err := scripts.ReadDir("scripts")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".sh"); ok && name != "lib" {
			names = append(names, name)
		}
	}
	if len(names) < 9 {
		t.Fatalf("only %q", names)
	}
	return names
}

// Every script is read by the shells that a machine may have as /bin/sh, and by shellcheck.
func TestScriptsAreShell(t *testing.T) {
	checkers := map[string][]string{"dash": {"dash", "-n"}, "bash": {"bash", "--posix", "-n"}, "shellcheck": {"shellcheck", "--severity=warning", "--exclude=SC2034"}}
	for _, name := range scriptNames(t) {
		file := filepath.Join(t.TempDir(), name+".sh")
		if err := os.WriteFile(file, script(name, values), 0o600); err != nil {
			t.Fatal(err)
		}
		for checker, argv := range checkers {
			if _, err := exec.LookPath(argv[0]); err != nil {
				t.Logf("%s is not here", checker)
				continue
			}
			if out, err := exec.Command(argv[0], append(argv[1:], file)...).CombinedOutput(); err != nil {
				t.Errorf("%s: %s: %v\n%s", name, checker, err, out)
			}
		}
	}
}

// A value reaches a script as it is, whatever a shell would make of it.
func TestScriptValues(t *testing.T) {
	hard := "a 'b' \"c\" $d `e` \\f\n*"
	text := script("probe", map[string]string{"VALUE": hard})
	head, _, _ := bytes.Cut(text, []byte("\n\n"))
	cmd := exec.Command("sh")
	cmd.Stdin = strings.NewReader(string(head) + "\nprintf %s \"$VALUE\"\n")
	out, err := cmd.Output()
	if err != nil || string(out) != hard {
		t.Errorf("%q (%v), want %q", out, err, hard)
	}
}

// systemd takes the unit that waits for the shutdown as it is.
func TestActivationUnit(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not here")
	}
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", filepath.Join("scripts", activationUnit)).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}
