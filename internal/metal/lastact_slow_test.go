//go:build bake && slow

package metal

import (
	"bufio"
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/strongroom/strongroom/internal/harden/hardentest"
)

// late are the commands that an installer runs as its last act, and those that it runs when they fail, as they stand in its file.
func late(t *testing.T, text []byte) (act, failed string) {
	t.Helper()
	switch kindOf(text) {
	case Preseed:
		for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", "")) {
			if value, ok := strings.CutPrefix(line, "d-i preseed/late_command string "); ok {
				return value, "" // Debian's installer shows a dialog
			}
		}
	case Kickstart:
		section := func(name string) string {
			_, rest, _ := strings.Cut(string(text), "\n"+name+" ")
			_, rest, _ = strings.Cut(rest, "\n")
			script, _, _ := strings.Cut(rest, "%end\n")
			return script
		}
		return section("%post"), section("%onerror")
	case Autoinstall:
		var data struct {
			Autoinstall struct {
				Late   []string `yaml:"late-commands"`
				Failed []string `yaml:"error-commands"`
			}
		}
		if err := yaml.Unmarshal(text, &data); err != nil || len(data.Autoinstall.Late) != 1 || len(data.Autoinstall.Failed) != 1 {
			t.Fatalf("%v: %+v", err, data)
		}
		return data.Autoinstall.Late[0], data.Autoinstall.Failed[0]
	}
	t.Fatal("no last act")
	return "", ""
}

// lastAct runs what the rendered file has an installer run in the end, on the tree where that installer has it, and then, if it fails, what it runs on errors.
func (b *bench) lastAct(t *testing.T) (output, console string, err error) {
	t.Helper()
	installer := Installer(b.config.Distribution)
	answers, err := os.ReadFile(filepath.Join(b.served, FileName(installer)))
	if err != nil {
		t.Fatal(err)
	}
	act, failed := late(t, answers)
	dir := t.TempDir()
	pipe := filepath.Join(dir, "console")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	held, err := os.OpenFile(pipe, os.O_RDWR, 0) // what is told fits into it
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	run := func(command string) ([]byte, error) {
		os.RemoveAll(filepath.Join(dir, "layer"))
		if err := os.WriteFile(filepath.Join(dir, "command"), []byte(command), 0o600); err != nil {
			t.Fatal(err)
		}
		return exec.Command("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child",
			"sh", "-c", installerRun, "installer.sh", dir, "", "", Autoinstall, b.tree, target(installer)).CombinedOutput()
	}
	said, err := run(act)
	if err != nil && failed != "" {
		if more, err := run(failed); err != nil {
			t.Errorf("what is run on errors has failed: %v: %s", err, more)
		}
	}
	if _, err := held.Write([]byte{0}); err != nil {
		t.Fatal(err)
	}
	shown, readErr := bufio.NewReader(held).ReadString(0)
	if readErr != nil {
		t.Fatal(readErr)
	}
	return string(said), shown, err
}

// The files of Anaconda and of Ubuntu's installer run their last act on a tree where those installers have it. That of Ubuntu is Debian with another os-release, that of the RHEL family has
// stand-ins for what Debian does not have (testdata/rhel.sh).
func TestLastAct(t *testing.T) {
	for id, change := range map[string]string{"ubuntu/noble": "24.04", "rhel/10": "10", "rhel/9": "9", "debian/bookworm": ""} {
		t.Run(strings.ReplaceAll(id, "/", "-"), func(t *testing.T) {
			b := newBench(t)
			b.config.Distribution, b.config.root = find(t, id), ""
			if Installer(b.config.Distribution) == Kickstart {
				b.config.Source = "https://mirror.example/BaseOS/x86_64/os"
			} else {
				b.config.Source = ""
			}
			os.RemoveAll(b.served)
			b.render(t)
			hardentest.Unpack(t, b.tree)
			if out, err := exec.Command("chroot", b.tree, "userdel", "--remove", "build").CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			b.kernel(t)
			switch {
			case strings.HasPrefix(id, "rhel/"):
				if out, err := exec.Command("sh", "testdata/rhel.sh", b.tree, change).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			case change != "":
				text := "NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"" + change + "\"\n"
				if err := os.WriteFile(filepath.Join(b.tree, "usr/lib/os-release"), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			out, console, err := b.lastAct(t)
			if err != nil || !strings.Contains(console, "strongroom: the system is installed and verified") {
				t.Fatalf("%v: %s\non the console: %s", err, out[max(0, len(out)-6000):], console)
			}
			if len(b.bootable(t)) == 0 {
				t.Error("nothing is left to boot")
			}
			if text, err := os.ReadFile(filepath.Join(b.tree, "usr/lib/os-release")); err != nil || !bytes.Contains(text, []byte("IMAGE_VERSION=1.0.0")) {
				t.Errorf("os-release: %s, %v", text, err)
			}

			// hostcheck finds what does not belong there.
			if err := os.WriteFile(filepath.Join(b.tree, "etc/backup.key"), []byte(secretKey), 0o600); err != nil {
				t.Fatal(err)
			}
			b.failsVisibly(t, "hostcheck does not pass the installed system", "leaked-secrets-absent")

			// What was fetched is not what was rendered, or not all of it.
			for name, change := range map[string]func([]byte) []byte{
				"one byte of it":  func(c []byte) []byte { c[len(c)/2] ^= 1; return c },
				"the half of it":  func(c []byte) []byte { return c[:len(c)/2] },
				"nothing of it":   func([]byte) []byte { return nil },
				"another program": func([]byte) []byte { return []byte("#!/bin/sh\nexit 0\n") },
			} {
				for _, file := range []string{OverlayName, ScriptName} {
					b.kernel(t)
					b.change = func(w http.ResponseWriter, r *http.Request) bool {
						if r.URL.Path != "/"+file {
							return false
						}
						content, err := os.ReadFile(filepath.Join(b.served, file))
						if err != nil {
							t.Error(err)
						}
						w.Write(change(content))
						return true
					}
					says := "overlay.tar has the SHA-256"
					if file == ScriptName {
						says = "strongroom-install.sh: FAILED"
					}
					t.Log(file, name)
					b.failsVisibly(t, says)
				}
			}
		})
	}
}

// failsVisibly runs the last act, which has to fail, tell why, and leave nothing that boots.
func (b *bench) failsVisibly(t *testing.T, says ...string) {
	t.Helper()
	out, console, err := b.lastAct(t)
	for _, want := range says {
		if !strings.Contains(out+console, want) {
			t.Errorf("nothing of %q: %s", want, out[max(0, len(out)-2000):])
		}
	}
	if err == nil || !strings.Contains(console, failedText) {
		t.Errorf("%v; on the console: %s", err, console)
	}
	if left := b.bootable(t); len(left) > 0 {
		t.Errorf("it could boot from %q", left)
	}
}
