package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/strongroom/strongroom/hardening"
)

func prepareHarden(changes map[string]any) (*Provisioner, error) {
	raw := map[string]any{
		"image_version": "1.4.0", "vault": map[string]any{"binary": "/nowhere/vault"},
		"packer_build_name": "vault", "packer_builder_type": "null",
	}
	maps.Copy(raw, changes)
	maps.DeleteFunc(raw, func(_ string, v any) bool { return v == nil })
	p := &Provisioner{Catalogue: hardening.Load}
	return p, p.Prepare(raw)
}

func TestHardenPrepareDefaults(t *testing.T) {
	p, err := prepareHarden(nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.config.Report != "vault-report.json" || p.config.Profile != "vault/vm" || p.config.ImageName != "strongroom" {
		t.Errorf("%+v", p.config)
	}
	// Packer configures a provisioner more than once.
	if err := p.Prepare(map[string]any{"image_version": "1.4.0", "openbao": map[string]any{"binary": "/nowhere/bao"}}); err != nil || p.config.Vault != nil {
		t.Errorf("a second configuration: %v, %v", err, p.config.Vault)
	}
}

// Every mistake is reported at once, with its attribute.
func TestHardenPrepareReportsEveryMistake(t *testing.T) {
	_, err := prepareHarden(map[string]any{
		"image_version": "1 4", "image_name": "Vault!", "profile": "vault/toaster", "parameters": map[string]string{"colour": "red"},
		"execute_command": "sudo sh script", "environment_vars": []string{"=x", "fine=1"}, "remote_folder": "tmp",
		"vault": map[string]any{"sha256": "zz"}, "site_controls": []string{},
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, attribute := range []string{"image_version", "image_name", "profile", "parameters", "execute_command", "environment_vars", "remote_folder", "vault.binary", "vault.sha256"} {
		if !strings.Contains(err.Error(), "* "+attribute+": ") {
			t.Errorf("%s is not reported: %v", attribute, err)
		}
	}
	if _, err := prepareHarden(map[string]any{"execute_command": "{{ .Nothing }} {{ .Path }}"}); err == nil || !strings.Contains(err.Error(), "execute_command") {
		t.Errorf("an unknown word in execute_command: %v", err)
	}
	if _, err := prepareHarden(map[string]any{"excute_command": "x"}); err == nil {
		t.Error("an unknown attribute is accepted")
	}
}

func TestExecuteCommand(t *testing.T) {
	for name, tt := range map[string]struct {
		changes map[string]any
		asRoot  bool
		want    string
	}{
		"root": {nil, true, "PACKER_BUILD_NAME='vault' PACKER_BUILDER_TYPE='null' sh /w/a.sh"},
		"sudo": {nil, false, "sudo -n env PACKER_BUILD_NAME='vault' PACKER_BUILDER_TYPE='null' sh /w/a.sh"},
		"password": {map[string]any{"execute_command": "echo 'secret' | sudo -S env {{ .Vars }} sh {{ .Path }}", "environment_vars": []string{"A=it's"}}, false,
			`echo 'secret' | sudo -S env PACKER_BUILD_NAME='vault' PACKER_BUILDER_TYPE='null' A='it'"'"'s' sh /w/a.sh`},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := prepareHarden(tt.changes)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := p.config.execute("/w/a.sh", tt.asRoot); err != nil || got != tt.want {
				t.Errorf("%q (%v), want %q", got, err, tt.want)
			}
		})
	}
}

// answers is a machine that answers commands by a function and takes every upload.
type answers struct {
	packersdk.Communicator
	command func(line string, out io.Writer) int
	uploads map[string][]byte
	fails   error
}

func (a *answers) Start(_ context.Context, cmd *packersdk.RemoteCmd) error {
	if a.fails != nil {
		return a.fails
	}
	go func() { cmd.SetExited(a.command(cmd.Command, cmd.Stdout)) }()
	return nil
}

func (a *answers) Upload(path string, r io.Reader, _ *os.FileInfo) error {
	content, err := io.ReadAll(r)
	a.uploads[path] = content
	return err
}

// program is a Linux program for amd64: this test itself.
func program(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return self
}

func provision(t *testing.T, ctx context.Context, a *answers, changes map[string]any) (said string, err error) {
	t.Helper()
	all := map[string]any{"vault": map[string]any{"binary": program(t)}, "hostcheck": program(t), "report": filepath.Join(t.TempDir(), "report.json")}
	maps.Copy(all, changes)
	p, err := prepareHarden(all)
	if err != nil {
		t.Fatal(err)
	}
	a.uploads = map[string][]byte{}
	var text bytes.Buffer
	ui := &packersdk.BasicUi{Reader: strings.NewReader(""), Writer: &text, ErrorWriter: &text}
	err = p.Provision(ctx, ui, a, nil)
	return text.String(), err
}

const greeting = "strongroom: user=admin\nstrongroom: uid=1000\nstrongroom: dir=/var/tmp/strongroom.x\n"

// What cannot be hardened is refused with every reason, before anything is changed.
func TestHardenRefusals(t *testing.T) {
	for name, tt := range map[string]struct {
		probe  string
		status int
		want   []string
	}{
		"another distribution": {"strongroom: os-release=ID=fedora\nstrongroom: os-release=VERSION_ID=42\nstrongroom: architecture=aarch64\nstrongroom: problem=/ is mounted read-only\nstrongroom: probed=yes\n", 0,
			[]string{"fedora", "aarch64", "/ is mounted read-only"}},
		"sudo wants a password": {"sudo: a password is required\n", 1, []string{"a password is required", "sudo -S"}},
		"no sudo":               {"sh: 1: sudo: not found\n", 127, []string{"not found", "execute_command"}},
	} {
		t.Run(name, func(t *testing.T) {
			var lines []string
			a := &answers{command: func(line string, out io.Writer) int {
				lines = append(lines, line)
				switch {
				case strings.HasPrefix(line, "sh -c"):
					io.WriteString(out, greeting)
					return 0
				case strings.HasSuffix(line, "sh /var/tmp/strongroom.x/probe.sh"):
					io.WriteString(out, strings.ReplaceAll(tt.probe, "\n", "\r\n")) // as with a terminal
					return tt.status
				}
				return 0
			}}
			said, err := provision(t, t.Context(), a, nil)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v: nothing of %q", err, want)
				}
			}
			if !strings.Contains(said, "State of the machine: nothing was changed") {
				t.Errorf("said: %s", said)
			}
			if last := lines[len(lines)-1]; last != "rm -rf -- '/var/tmp/strongroom.x'" || len(lines) != 3 {
				t.Errorf("commands: %q", lines)
			}
			if len(a.uploads) != 1 {
				t.Errorf("%d uploads", len(a.uploads))
			}
		})
	}
}

// No password of a command line is in an error or in what the provisioner says.
func TestHardenKeepsThePassword(t *testing.T) {
	a := &answers{command: func(line string, out io.Writer) int {
		if strings.HasPrefix(line, "sh -c") {
			io.WriteString(out, greeting)
			return 0
		}
		return 1
	}}
	said, err := provision(t, t.Context(), a, map[string]any{"execute_command": "echo 'open sesame' | sudo -S sh {{ .Path }}"})
	if err == nil || strings.Contains(err.Error(), "sesame") || strings.Contains(said, "sesame") {
		t.Errorf("%v; %s", err, said)
	}
	said, err = provision(t, t.Context(), &answers{fails: errors.New("connection lost")}, map[string]any{"execute_command": "echo 'open sesame' | sudo -S sh {{ .Path }}"})
	if err == nil || strings.Contains(err.Error(), "sesame") || strings.Contains(said, "sesame") || !strings.Contains(err.Error(), "connection lost") {
		t.Errorf("%v; %s", err, said)
	}
}

// A cancelled build stops waiting for the machine, and asks nothing more of it but to remove what was uploaded.
func TestHardenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	held := make(chan struct{})
	var after []string
	a := &answers{command: func(line string, out io.Writer) int {
		switch {
		case strings.HasPrefix(line, "sh -c"):
			io.WriteString(out, greeting)
		case strings.HasSuffix(line, "probe.sh"):
			cancel()
			<-held
			fmt.Fprintln(out, "too late") // nobody may listen any more
		default:
			after = append(after, line)
		}
		return 0
	}}
	_, err := provision(t, ctx, a, nil)
	close(held)
	if err == nil || !strings.Contains(err.Error(), "cancelled") {
		t.Errorf("%v", err)
	}
	if len(after) != 1 || !strings.HasPrefix(after[0], "rm -rf -- ") {
		t.Errorf("after the cancellation: %q", after)
	}
}
