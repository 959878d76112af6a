package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func cli(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestExitCodes(t *testing.T) {
	tests := []struct {
		args   string
		code   int
		stderr string
	}{
		{"", 0, ""},
		{"--help", 0, ""},
		{"--version", 0, ""},
		{"controls", 0, ""},
		{"bogus", 64, `unknown command "bogus"`},
		{"controls --bogus", 64, "unknown flag: --bogus"},
		{"controls extra", 64, `unexpected argument "extra"`},
		{"controls --profile vault", 64, "vault/vm"},
		{"controls --profile vault/toaster", 64, "cloud, vm, metal"},
		{"controls --set colour=red", 64, `unknown parameter "colour"`},
		{"overlay --output /nowhere/overlay.tar", 1, "cannot write the overlay: "},
		{"prove --image /nowhere", 1, "no image at /nowhere"},
		{"lab", 0, ""},
		{"lab bogus", 64, `unknown command "bogus"`},
		{"lab up --nodes 0", 64, "--nodes 0: want 1 to 15"},
		{"lab up --seal paper", 64, `--seal "paper": want shamir or transit`},
		{"lab up --seal transit --vault-binary /nowhere", 64, "name one with --vault-binary"},
		{"lab up --vault-binary /nowhere", 64, "--vault-binary is the Vault of --seal transit"},
		{"lab kill", 64, "want the name of one node, got 0"},
		{"lab heal node-1 node-2", 64, "want the name of one node, got 2"},
		{"lab status --state /nowhere/lab", 1, "no lab is up in /nowhere/lab\nhint: `imagebuild lab up"},
		{"lab env --state /nowhere/lab", 1, "no lab is up in /nowhere/lab"},
		{"lab down --state /nowhere/lab", 1, "no lab is up in /nowhere/lab"},
		{"report", 64, "want one report, got 0"},
		{"report --format yaml x", 64, `unknown format "yaml" (known: text, json, junit, sarif, oscal, html)`},
		{"report /nowhere.json", 1, "cannot open report: "},
		{"report main_test.go", 1, "main_test.go: cannot decode report: "},
		{"lock a b", 64, "want one file, got 2"},
		{"lock --update --check", 64, "exclude each other"},
		{"lock /nowhere/strongroom.lock", 1, "no lock at /nowhere/strongroom.lock\nhint: imagebuild lock --update"},
		{"lock main_test.go", 1, "main_test.go: is no lock: "},
		{"lock --update --distribution debian/sid /nowhere/strongroom.lock", 64, `"debian/sid" is not known`},
		{"lock --update --program vault /nowhere/strongroom.lock", 64, `--program "vault": want its path`},
		{"snapshot rehearse", 64, "--server is missing"},
		{"snapshot rehearse --server vault", 64, "want one file or directory, got 0"},
		{"snapshot rehearse --server vault --canary kv/x archive", 64, "go together"},
		{"snapshot rehearse --server vault /nowhere", 1, "no such file"},
		{"lock --update --snapshot today /nowhere/strongroom.lock", 64, `"today" is not a date`},
		{"start", 1, "two arguments"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			code, stdout, stderr := cli(strings.Fields(tt.args)...)
			if code != tt.code {
				t.Errorf("exit status %d, want %d: %s", code, tt.code, stderr)
			}
			if !strings.Contains(stderr, tt.stderr) {
				t.Errorf("stderr %q lacks %q", stderr, tt.stderr)
			}
			if tt.code != 0 && stdout != "" {
				t.Errorf("an error goes to standard output: %q", stdout)
			}
			if tt.code == 64 && !strings.Contains(stderr, "--help") {
				t.Errorf("wrong use without a hint: %q", stderr)
			}
		})
	}
}

func TestControlsTable(t *testing.T) {
	_, out, _ := cli("controls")
	for _, want := range []string{"CONTROL", "memory-swap-off", "PARAMETER", "memory_lock", "close the gate; baseline "} {
		if !strings.Contains(out, want) {
			t.Errorf("the list lacks %q", want)
		}
	}
	_, locked, _ := cli("controls", "--set", "memory_lock=on")
	if locked == out {
		t.Error("a parameter changes nothing")
	}
}

// A machine that something else has installed has other controls than an image of ours.
func TestLayoutChoosesTheControls(t *testing.T) {
	_, sealed, _ := cli("controls")
	for _, distribution := range []string{"debian/trixie", "ubuntu/noble", "rhel/10", "rhel/9"} {
		code, out, stderr := cli("controls", "--layout", "installed", "--distribution", distribution)
		if code != 0 || !strings.Contains(out, "boot-chain-protected") || strings.Contains(out, "root-verity ") {
			t.Errorf("%s: %d, %s", distribution, code, stderr)
		}
	}
	if strings.Contains(sealed, "boot-chain-protected") || !strings.Contains(sealed, "root-verity ") {
		t.Error("an image of ours has the controls of another layout")
	}
	if code, _, stderr := cli("overlay", "--distribution", "ubuntu/noble", "--output", "-"); code != exitUsage || !strings.Contains(stderr, `with layout "installed"`) {
		t.Errorf("a sealed Ubuntu: %d, %s", code, stderr)
	}
}

// The reference in the tree is what the catalogue says now.
func TestControlsReferenceIsFresh(t *testing.T) {
	committed, err := os.ReadFile("../../hardening/CONTROLS.md")
	if err != nil {
		t.Fatal(err)
	}
	if _, out, _ := cli("controls", "--markdown"); out != string(committed) {
		t.Error("hardening/CONTROLS.md is stale: run make generate")
	}
}

func TestOverlayIsDeterministic(t *testing.T) {
	dir := t.TempDir()
	var tars [2][]byte
	for i := range tars {
		name := filepath.Join(dir, "overlay.tar")
		code, out, stderr := cli("overlay", "--output", name)
		if code != 0 {
			t.Fatal(stderr)
		}
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		tars[i] = content
		sum := sha256.Sum256(content)
		if want := hex.EncodeToString(sum[:]) + "  " + name + "\n"; out != want {
			t.Errorf("printed %q, want %q", out, want)
		}
	}
	if !bytes.Equal(tars[0], tars[1]) {
		t.Error("two renderings differ")
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 { // the tar and its sum
		t.Errorf("left %v beside the overlay", left)
	}
	if _, streamed, _ := cli("overlay", "--output", "-"); streamed != string(tars[0]) {
		t.Error("the stream is not the file")
	}
}

// `make deps` installs whatever a bake asks for.
func TestDebianPackagesCoverTheBake(t *testing.T) {
	source, err := os.ReadFile("../../internal/image/host.go")
	if err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile("../../tools/debian-packages")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for line := range strings.Lines(string(list)) {
		if f := strings.Fields(line); len(f) > 0 {
			known[f[0]] = true
		}
	}
	tools := regexp.MustCompile(`\{"([a-z.]+)", "([a-z0-9-]+)"\}`).FindAllStringSubmatch(string(source), -1)
	if len(tools) < 8 {
		t.Fatalf("found only %d tools in internal/image/host.go", len(tools))
	}
	for _, m := range tools {
		if !known[m[2]] {
			t.Errorf("%s needs the package %s, which tools/debian-packages lacks", m[1], m[2])
		}
	}
}
