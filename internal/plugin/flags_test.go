//go:build bake

package plugin_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// atTerminal runs a command at a terminal (Packer asks nobody without one) and answers whatever ends in prompt. It returns what
// was shown, and the exit status.
func atTerminal(t *testing.T, cmd *exec.Cmd, prompt, answer string) (string, int) {
	t.Helper()
	at := exec.CommandContext(t.Context(), "script", "--quiet", "--return", "--command", strings.Join(cmd.Args, " "), "/dev/null")
	at.Dir, at.Env = cmd.Dir, append(cmd.Env, "SHELL=/bin/sh")
	in, err := at.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := at.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := at.Start(); err != nil {
		t.Fatal(err)
	}
	var shown strings.Builder
	for chunk, answered := make([]byte, 4096), 0; ; {
		n, err := out.Read(chunk)
		shown.Write(chunk[:n])
		if asked := strings.Count(shown.String(), prompt); asked > answered {
			if _, err := io.WriteString(in, strings.Repeat(answer, asked-answered)); err != nil {
				t.Error(err)
			}
			answered = asked
		}
		if err != nil {
			break
		}
	}
	at.Wait()
	t.Logf("%s\n%s", strings.Join(cmd.Args[1:], " "), shown.String())
	return shown.String(), at.ProcessState.ExitCode()
}

// -debug stops after each step of the bake, by name.
func TestDebugPausesAtEachStep(t *testing.T) {
	w := setUp(t)
	dir := w.template(t, w.vault(), "")
	build := w.command(t, dir, "build", "-debug", ".")
	out, code := atTerminal(t, build, "Press enter to continue.", "\r")
	if code != 0 {
		t.Fatalf("exit status %d", code)
	}
	rest := out
	for _, step := range strings.Fields("stepOpen stepBaseTree stepOverlay stepConnect StepProvision stepSeal stepVerify stepLeakGate stepRootFilesystem stepVerity stepInitrd stepUnifiedKernel stepDisk stepConvert stepManifest stepPublish") {
		_, after, ok := strings.Cut(rest, "step '"+step)
		if !ok {
			t.Errorf("no pause after %s, or not in its place", step)
			continue
		}
		rest = after
	}
	if !strings.Contains(out, "Debug mode enabled") {
		t.Error("Packer is not in debug mode")
	}
}

// -on-error=ask holds the tree while Packer asks, and the step can be tried again; -only leaves the other build alone; PACKER_LOG
// has what the bake runs.
func TestAskAndOnly(t *testing.T) {
	w := setUp(t)
	dir := w.template(t, w.vault(), `
  provisioner "shell" {
    inline = ["if test -e /root/again; then echo second try; else touch /root/again; exit 3; fi"]
  }`)
	file := filepath.Join(dir, "test.pkr.hcl")
	text := strings.Replace(readFile(t, file), `["source.strongroom-image.test"]`, `["source.strongroom-image.test", "source.strongroom-image.other"]`, 1) + `
source "strongroom-image" "other" {
  image_version = "1.0.0"
  vault {
    binary = "/nowhere/vault"
  }
}
`
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "packer.log")
	build := w.command(t, dir, "build", "-on-error=ask", "-only=strongroom-image.test", ".")
	build.Env = append(build.Env, "PACKER_LOG=1", "PACKER_LOG_PATH="+log)
	out, code := atTerminal(t, build, "even if retry succeeds)?", "r\r")
	if code != 0 || !strings.Contains(out, "second try") {
		t.Errorf("exit status %d, want the step tried again", code)
	}
	if strings.Contains(out, "cleanup provisioner") {
		t.Error("a build that has passed cleans up after a failure")
	}
	if strings.Contains(out, "strongroom-image.other") {
		t.Error("-only baked the other image too")
	}
	if left := entries(t, dir); left != "out packer.log test.pkr.hcl" {
		t.Errorf("left: %s", left)
	}
	if said := readFile(t, log); !strings.Contains(said, "tool=mksquashfs") {
		t.Error("the log does not say what the bake runs")
	}
}
