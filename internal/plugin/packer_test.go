//go:build bake

package plugin_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// workbench is the real Packer with the plugin installed as users install it. It is made once
// for all tests of the package.
type workbench struct {
	packer, hostcheck, plugin string // programs
	pluginPath                string
}

var bench = sync.OnceValues(func() (workbench, error) {
	dir, err := os.MkdirTemp("", "strongroom-plugin-test-")
	if err != nil {
		return workbench{}, err
	}
	w := workbench{
		packer:     os.Getenv("STRONGROOM_PACKER"),
		hostcheck:  filepath.Join(dir, "hostcheck"),
		plugin:     filepath.Join(dir, "packer-plugin-strongroom"),
		pluginPath: filepath.Join(dir, "plugins"),
	}
	if w.packer == "" {
		out, err := exec.Command("../../tools/build", "--path", "packer").Output()
		if err != nil {
			return w, err
		}
		w.packer = strings.TrimSpace(string(out))
	}
	if _, err := os.Stat(w.packer); err != nil {
		return w, fmt.Errorf("%w\nhint: make tools", err)
	}
	for program, source := range map[string]string{w.plugin: "../../cmd/imagebuild", w.hostcheck: "../../cmd/hostcheck"} {
		build := exec.Command("go", "build", "-trimpath", "-o", program, source)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return w, fmt.Errorf("%w: %s", err, out)
		}
	}
	install := exec.Command(w.packer, "plugins", "install", "--path", w.plugin, "github.com/strongroom/strongroom")
	install.Env = w.environment()
	if out, err := install.CombinedOutput(); err != nil {
		return w, fmt.Errorf("%w: %s", err, out)
	}
	return w, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if w, err := bench(); err == nil {
		os.RemoveAll(filepath.Dir(w.plugin))
	}
	os.Exit(code)
}

func (w workbench) environment() []string {
	return append(os.Environ(), "PACKER_PLUGIN_PATH="+w.pluginPath, "PACKER_CONFIG_DIR="+w.pluginPath, "CHECKPOINT_DISABLE=1", "PACKER_NO_COLOR=1")
}

func setUp(t *testing.T) workbench {
	t.Helper()
	w, err := bench()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// command is Packer with a template in a directory of its own.
func (w workbench) command(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, w.packer, args...)
	cmd.Dir = dir
	cmd.Env = w.environment()
	return cmd
}

// run runs a command to its end and returns what it printed and its exit status.
func run(t *testing.T, cmd *exec.Cmd) (string, int) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	t.Logf("%s\n%s", strings.Join(cmd.Args[1:], " "), out.String())
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// template writes a template whose server binary is hostcheck: any static program will do where
// nothing boots, and a small one keeps the bake short.
func (w workbench) template(t *testing.T, source, build string) string {
	t.Helper()
	dir := t.TempDir()
	text := fmt.Sprintf(`
source "strongroom-image" "test" {
  image_name       = "test"
  image_version    = "1.0.0"
  hostcheck        = %q
  formats          = ["raw"]
  output_directory = "out"
  %s
}
build {
  sources = ["source.strongroom-image.test"]
  %s
}
`, w.hostcheck, source, build)
	if err := os.WriteFile(filepath.Join(dir, "test.pkr.hcl"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (w workbench) vault() string { return fmt.Sprintf("vault { binary = %q }", w.hostcheck) }

func entries(t *testing.T, dir string) string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

var wires = map[string]string{"protobuf": "PACKER_FORCE_GOB=0", "gob": "PACKER_FORCE_GOB=1"}

func TestDescribeIsCleanJSON(t *testing.T) {
	w := setUp(t)
	out, err := exec.Command(w.plugin, "describe").Output()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Version  string   `json:"version"`
		Builders []string `json:"builders"`
		Sources  []string `json:"datasources"`
		Hardens  []string `json:"provisioners"`
		After    []string `json:"post_processors"`
		Protocol string   `json:"protocol_version"`
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if len(got.Builders) != 1 || got.Builders[0] != "image" || strings.Join(got.Sources, " ") != "release" || strings.Join(got.Hardens, " ") != "harden" || !slices.Contains(got.After, "launch-template") || got.Protocol != "v2" || !strings.HasSuffix(got.Version, "-dev") {
		t.Errorf("got %+v", got)
	}
}

func TestPluginCheck(t *testing.T) {
	w := setUp(t)
	if out, err := exec.Command("../../tools/build", "packer-sdc").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	sdc, err := exec.Command("../../tools/build", "--path", "packer-sdc").Output()
	if err != nil {
		t.Fatal(err)
	}
	check := exec.Command(strings.TrimSpace(string(sdc)), "plugin-check", filepath.Base(w.plugin))
	check.Dir = filepath.Dir(w.plugin)
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestShippedTemplates(t *testing.T) {
	w := setUp(t)
	dir, err := filepath.Abs("../../packer")
	if err != nil {
		t.Fatal(err)
	}
	if out, code := run(t, w.command(t, dir, "fmt", "-check", "-diff", ".")); code != 0 {
		t.Errorf("packer fmt: %s", out)
	}
	for name, wire := range wires {
		for _, server := range []string{"vault", "openbao"} {
			t.Run(name+"/"+server, func(t *testing.T) {
				validate := w.command(t, dir, "validate", "-var", "server="+server, "-var", "server_binary=/nowhere/"+server, "local.pkr.hcl")
				validate.Env = append(validate.Env, wire)
				if out, code := run(t, validate); code != 0 {
					t.Errorf("packer validate: %s", out)
				}
			})
		}
		t.Run(name+"/release", func(t *testing.T) {
			validate := w.command(t, dir, "validate", "release.pkr.hcl")
			validate.Env = append(validate.Env, wire)
			if out, code := run(t, validate); code != 0 {
				t.Errorf("packer validate: %s", out)
			}
		})
		t.Run(name+"/harden", func(t *testing.T) {
			validate := w.command(t, dir, "validate", "-var", "host=192.0.2.10", "-var", "user=admin", "-var", "private_key_file="+privateKey(t), "harden.pkr.hcl")
			validate.Env = append(validate.Env, wire)
			if out, code := run(t, validate); code != 0 {
				t.Errorf("packer validate: %s", out)
			}
		})
	}
}

// privateKey is a file with a key for SSH, which Packer looks at when it validates.
func privateKey(t *testing.T) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestValidateReportsEveryMistake(t *testing.T) {
	w := setUp(t)
	dir := w.template(t, `
  distribution        = "debian/woody"
  profile             = "vault/toaster"
  parameters          = { colour = "red" }
  data_partition_size = "4GB"
  vault { sha256 = "zz" }
  boot_test { cpus = -1 }`, "")
	for name, wire := range wires {
		t.Run(name, func(t *testing.T) {
			validate := w.command(t, dir, "validate", ".")
			validate.Env = append(validate.Env, wire)
			out, code := run(t, validate)
			if code != 1 {
				t.Errorf("exit status %d", code)
			}
			for _, attribute := range []string{"distribution", "profile", "parameters", "data_partition_size", "vault.binary", "vault.sha256", "boot_test.cpus"} {
				if !strings.Contains(out, "* "+attribute+": ") {
					t.Errorf("%s is not reported", attribute)
				}
			}
		})
	}
}

// What is wrong with this machine or its files is told before anything is baked.
func TestRefusalsLeaveNothing(t *testing.T) {
	w := setUp(t)
	tests := map[string]struct{ source, says string }{
		"checksum":      {fmt.Sprintf("vault {\n binary = %q\n sha256 = %q\n}", w.hostcheck, strings.Repeat("0", 64)), "has sha-256"},
		"missing":       {`vault { binary = "/nowhere/vault" }`, "/nowhere/vault"},
		"not a program": {`vault { binary = "/etc/passwd" }`, "/etc/passwd"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := w.template(t, tt.source, "")
			out, code := run(t, w.command(t, dir, "build", "."))
			if code == 0 || !strings.Contains(strings.ToLower(out), tt.says) {
				t.Errorf("exit status %d, want an error about %s", code, tt.says)
			}
			if left := entries(t, dir); left != "test.pkr.hcl" {
				t.Errorf("left: %s", left)
			}
		})
	}
}
