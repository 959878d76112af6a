//go:build bake

package plugin_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/report"
)

const provisioners = `
  provisioner "file" {
    source      = "tool"
    destination = "/usr/lib/test/"
  }
  provisioner "file" {
    source      = "conf/"
    destination = "/usr/lib/test/conf"
  }
  provisioner "shell" {
    inline = [
      "set -eu",
      "test \"$(id -u)\" = 0",
      "test -x /usr/lib/test/tool",
      "test ! -e '` + "${path.cwd}" + `'", # the host's files are out of reach
      "echo '$HOME ` + "`id`" + `' >/usr/lib/test/literal", # no shell but the tree's own reads this
      "echo ${build.ImageVersion} ${build.BaselineDigest} >/usr/lib/test/build",
      "echo shown on stdout; echo shown on stderr >&2",
    ]
  }
  provisioner "file" {
    direction   = "download"
    source      = "/usr/lib/test/"
    destination = "fetched/"
  }
  post-processor "checksum" {
    checksum_types      = ["sha256"]
    output              = "sums"
    keep_input_artifact = true
  }
  post-processor "manifest" {
    output = "packer-manifest.json"
  }
  post-processor "shell-local" {
    inline = ["echo root hash ${build.RootHash}"]
  }`

// One bake through the real Packer, from a template as users write them: stock provisioners in
// the tree, stock post-processors behind it.
func TestBake(t *testing.T) {
	w := setUp(t)
	dir := w.template(t, w.vault(), provisioners)
	for name, content := range map[string]string{"tool": "#!/bin/sh\n", "conf/a.conf": "a", "conf/sub/b.conf": "b"} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	out, code := run(t, w.command(t, dir, "build", "."))
	if code != 0 {
		t.Fatal("the build failed")
	}
	if got, want := entries(t, filepath.Join(dir, "out")), "disk.raw image-report.json manifest.json measurements.json sbom.cdx.json sbom.spdx.json strongroom.lock timings.json"; got != want {
		t.Errorf("published %q, want %q", got, want)
	}
	if left := entries(t, dir); strings.Contains(left, ".partial") {
		t.Errorf("left: %s", left)
	}
	manifest := readManifest(t, filepath.Join(dir, "out"))
	for _, line := range []string{"shown on stdout", "shown on stderr", "root hash " + manifest.RootHash} {
		if !strings.Contains(out, line) {
			t.Errorf("the output lacks %q", line)
		}
	}
	for name, want := range map[string]string{
		"fetched/literal": "$HOME `id`\n", "fetched/conf/a.conf": "a", "fetched/conf/sub/b.conf": "b", "fetched/tool": "#!/bin/sh\n",
	} {
		if got := readFile(t, filepath.Join(dir, name)); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := strings.Fields(readFile(t, filepath.Join(dir, "fetched/build"))); len(got) != 2 || got[0] != "1.0.0" || len(got[1]) != 64 {
		t.Errorf("build variables %q", got)
	}

	id := "sha256:" + digest(t, filepath.Join(dir, "out/disk.raw"))
	if id != "sha256:"+manifest.Files[0].SHA256 {
		t.Errorf("the disk is %s, and the manifest says %s", id, manifest.Files[0].SHA256)
	}
	var packed struct {
		Builds []struct {
			ArtifactID string `json:"artifact_id"`
			Files      []struct{ Name string }
		}
	}
	if err := json.Unmarshal([]byte(readFile(t, filepath.Join(dir, "packer-manifest.json"))), &packed); err != nil {
		t.Fatal(err)
	}
	if b := packed.Builds[0]; b.ArtifactID != id || len(b.Files) != 8 || filepath.Base(b.Files[0].Name) != "disk.raw" {
		t.Errorf("Packer's manifest says %+v", b)
	}
	if sums := readFile(t, filepath.Join(dir, "sums")); !strings.Contains(sums, strings.TrimPrefix(id, "sha256:")) {
		t.Errorf("checksums: %s", sums)
	}

	text, err := os.Open(filepath.Join(dir, "out/image-report.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	document, err := report.ReadJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	if document.Verdict != check.Pass || document.Baseline != strings.Fields(readFile(t, filepath.Join(dir, "fetched/build")))[1] {
		t.Errorf("image report: verdict %s, baseline %s", document.Verdict, document.Baseline)
	}

	t.Run("existing output", func(t *testing.T) { existingOutput(t, w, dir, id) })
}

// existingOutput goes on from a directory in which an image lies.
func existingOutput(t *testing.T, w workbench, dir, id string) {
	intact := func() {
		t.Helper()
		if got := "sha256:" + digest(t, filepath.Join(dir, "out/disk.raw")); got != id {
			t.Errorf("the image that was there changed to %s", got)
		}
	}
	if out, code := run(t, w.command(t, dir, "build", ".")); code == 0 || !strings.Contains(out, "-force") {
		t.Errorf("exit status %d, want a refusal that names -force", code)
	}
	intact()

	failing := w.template(t, w.vault(), `provisioner "shell" { inline = ["exit 3"] }`)
	move(t, filepath.Join(failing, "test.pkr.hcl"), filepath.Join(dir, "test.pkr.hcl"))
	if _, code := run(t, w.command(t, dir, "build", "-force", ".")); code == 0 {
		t.Error("a failing provisioner does not fail the build")
	}
	intact() // a build that fails takes nothing away

	other := w.template(t, w.vault(), "")
	move(t, filepath.Join(other, "test.pkr.hcl"), filepath.Join(dir, "test.pkr.hcl"))
	if _, code := run(t, w.command(t, dir, "build", "-force", ".")); code != 0 {
		t.Error("-force does not replace the image")
	}
	if got := "sha256:" + digest(t, filepath.Join(dir, "out/disk.raw")); got == id {
		t.Error("the image is still the old one")
	}
	if left := entries(t, dir); strings.Contains(left, ".partial") {
		t.Errorf("left: %s", left)
	}
}

// A provisioner that takes hardening away, or leaves secrets, is found by the verification after the seal.
func TestBrokenHardeningFailsTheBuild(t *testing.T) {
	w := setUp(t)
	dir := w.template(t, w.vault(), `provisioner "shell" {
    inline = [
      "rm -r /usr/lib/sysctl.d",
      "printf 'hv''s.aB3dE5gHaB3dE5gHaB3dE5gH' >/root/.vault-token",
      "echo DB_PASSWORD=hunter22 >>/etc/environment",
    ]
  }`)
	build := w.command(t, dir, "build", ".")
	build.Env = append(build.Env, wires["gob"])
	out, code := run(t, build)
	if code == 0 {
		t.Error("the build succeeded")
	}
	if !strings.Contains(out, "FAIL") || !strings.Contains(out, "is not what the baseline states: ") {
		t.Error("the output does not name what failed")
	}
	said := strings.Join(strings.Fields(strings.ReplaceAll(out, "strongroom-image.test:", "")), " ")
	for _, want := range []string{"leaked-secrets-absent", "a token of Vault or OpenBao in /root/.vault-token", "a value of DB_PASSWORD in /etc/environment"} {
		if !strings.Contains(said, want) {
			t.Errorf("the output does not say %q", want)
		}
	}
	if strings.Contains(out, "hunter22") || strings.Contains(out, "aB3dE5gHaB3dE5gH") {
		t.Error("the output tells a secret")
	}
	if left := entries(t, dir); left != "test.pkr.hcl" {
		t.Errorf("left: %s", left)
	}
}

func TestOnError(t *testing.T) {
	w := setUp(t)
	for _, behaviour := range []string{"cleanup", "abort", "run-cleanup-provisioner"} {
		t.Run(behaviour, func(t *testing.T) {
			dir := w.template(t, w.vault(), `
  provisioner "shell" { inline = ["exit 3"] }
  error-cleanup-provisioner "shell" { inline = ["echo the tree is still there: $(cat /etc/debian_version)"] }`)
			out, code := run(t, w.command(t, dir, "build", "-on-error="+behaviour, "."))
			if code == 0 || !strings.Contains(out, "exit status 3") && !strings.Contains(out, "exit status: 3") {
				t.Errorf("exit status %d, want a failure that tells the script's status", code)
			}
			if cleaned := strings.Contains(out, "the tree is still there: "); cleaned != (behaviour != "abort") {
				t.Errorf("clean-up provisioner ran: %t", cleaned)
			}
			if left := entries(t, dir); left != "test.pkr.hcl" {
				t.Errorf("left: %s", left)
			}
		})
	}
}

// An interrupt ends the provisioner that runs, with its children, and leaves nothing.
func TestInterrupt(t *testing.T) {
	w := setUp(t)
	const marker = "8613.25" // a duration that only this test sleeps
	dir := w.template(t, w.vault(), `provisioner "shell" { inline = ["echo sleeping now", "sleep `+marker+` & wait"] }`)
	build := w.command(t, dir, "build", ".")
	// As at a terminal, where the interrupt goes to Packer and to what it has started.
	build.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	build.Cancel = func() error { return syscall.Kill(-build.Process.Pid, syscall.SIGKILL) }
	stdout, err := build.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := build.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "sleeping now") {
			break
		}
	}
	if err := syscall.Kill(-build.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, stdout)
	if err := build.Wait(); err == nil {
		t.Error("an interrupted build succeeded")
	}
	if left := entries(t, dir); left != "test.pkr.hcl" {
		t.Errorf("left: %s", left)
	}
	for deadline := time.Now().Add(10 * time.Second); running(t, marker); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the provisioner's child still runs")
		}
	}
}

// running reports whether a process has an argument.
func running(t *testing.T, argument string) bool {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && strings.HasSuffix(string(text), "\x00"+argument+"\x00") {
			return true
		}
	}
	return false
}

func readManifest(t *testing.T, dir string) image.Result {
	t.Helper()
	var manifest image.Result
	if err := json.Unmarshal([]byte(readFile(t, filepath.Join(dir, image.ManifestName))), &manifest); err != nil {
		t.Fatal(err)
	}
	return manifest
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func digest(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}
