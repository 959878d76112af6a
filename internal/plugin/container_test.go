//go:build bake

package plugin_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/image"
)

// An account that exists for one command only.
const (
	containerUser = "strongroom-ci"
	containerID   = "64323"
)

// unprivileged is a command in what docs/ci.md says of a container: an ordinary user, a bounding set of two capabilities, and
// newuidmap and newgidmap with a capability each in place of the set-user-ID bit. Accounts and programs are changed in a mount
// namespace that only this command sees.
func unprivileged(t *testing.T, capabilities bool, dir string, environment []string, argv ...string) *exec.Cmd {
	t.Helper()
	files := t.TempDir()
	script := ""
	write := func(target string, content []byte, mode os.FileMode) string {
		path := filepath.Join(files, filepath.Base(target))
		if err := os.WriteFile(path, content, mode); err != nil {
			t.Fatal(err)
		}
		script += "mount --bind " + path + " " + target + "\n"
		return path
	}
	for file, line := range map[string]string{
		"/etc/passwd": containerUser + ":x:" + containerID + ":" + containerID + "::/nonexistent:/usr/sbin/nologin\n",
		"/etc/group":  containerUser + ":x:" + containerID + ":\n",
		"/etc/subuid": containerUser + ":1000000:65536\n",
		"/etc/subgid": containerUser + ":1000000:65536\n",
	} {
		have, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		write(file, append(have, line...), 0o644)
	}
	for program, capability := range map[string]string{"/usr/bin/newuidmap": "cap_setuid=ep", "/usr/bin/newgidmap": "cap_setgid=ep"} {
		if !capabilities {
			break
		}
		have, err := os.ReadFile(program)
		if err != nil {
			t.Fatal(err)
		}
		path := write(program, have, 0o755)
		if out, err := exec.Command("setcap", capability, path).CombinedOutput(); err != nil {
			t.Fatalf("setcap: %v: %s", err, out)
		}
	}
	script += "exec setpriv --reuid " + containerID + " --regid " + containerID + " --clear-groups --inh-caps=-all --bounding-set=-all,+setuid,+setgid -- \"$@\""
	cmd := exec.CommandContext(t.Context(), "unshare", append([]string{"--mount", "--propagation", "private", "sh", "-euc", script, "sh"}, argv...)...)
	cmd.Dir, cmd.Env = dir, environment
	return cmd
}

// The bake of the CI recipes, as far as it can be had without Docker.
func TestContainerBake(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can take on another user")
	}
	w := setUp(t)
	dir := w.template(t, w.vault(), "")
	cache := filepath.Join(t.TempDir(), "cache")
	for _, d := range []string{cache, filepath.Join(cache, "image")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// What other tests have baked from, so that this one asks for no packages.
	kept, err := image.UserCache()
	if err != nil {
		t.Fatal(err)
	}
	cached, err := filepath.Glob(filepath.Join(kept, "image", "*-*.*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cached {
		if os.Link(c, filepath.Join(cache, "image", filepath.Base(c))) != nil {
			if out, err := exec.Command("cp", c, filepath.Join(cache, "image")).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
	}
	// An ordinary user reads Packer, the plugin and hostcheck, and passes through the directories of the tests.
	programs := filepath.Join(t.TempDir(), "bin")
	if err := os.MkdirAll(programs, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, cache, filepath.Join(cache, "image")} {
		if out, err := exec.Command("chown", "-h", containerID+":"+containerID, d).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	for from, to := range map[string]string{w.packer: "packer", w.hostcheck: "hostcheck"} {
		if out, err := exec.Command("install", "-m", "755", from, filepath.Join(programs, to)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	plugins := filepath.Join(programs, "plugins")
	if err := os.CopyFS(plugins, os.DirFS(w.pluginPath)); err != nil {
		t.Fatal(err)
	}
	template := strings.ReplaceAll(readFile(t, filepath.Join(dir, "test.pkr.hcl")), w.hostcheck, filepath.Join(programs, "hostcheck"))
	if err := os.WriteFile(filepath.Join(dir, "test.pkr.hcl"), []byte(template), 0o644); err != nil {
		t.Fatal(err)
	}
	for d := dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		passable(t, d)
	}
	for d := cache; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		passable(t, d)
	}
	for d := programs; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		passable(t, d)
	}

	environment := []string{
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR=" + dir, "HOME=" + dir, "STRONGROOM_CACHE=" + cache, "PACKER_PLUGIN_PATH=" + plugins,
		"PACKER_CONFIG_DIR=" + dir, "PACKER_CACHE_DIR=" + filepath.Join(cache, "packer"), "CHECKPOINT_DISABLE=1", "PACKER_NO_COLOR=1",
	}
	build := []string{filepath.Join(programs, "packer"), "build", "."}
	// Red without what docs/ci.md asks for, and it says what is missing.
	if out, code := run(t, unprivileged(t, false, dir, environment, build...)); code == 0 || !strings.Contains(out, "setcap cap_setuid=ep") {
		t.Errorf("with the set-user-ID bit: exit status %d, want an error that names the capability", code)
	}
	if _, code := run(t, unprivileged(t, true, dir, environment, build...)); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	if got, want := entries(t, filepath.Join(dir, "out")), "disk.raw image-report.json manifest.json measurements.json sbom.cdx.json sbom.spdx.json strongroom.lock timings.json"; got != want {
		t.Errorf("published %q, want %q", got, want)
	}
}

// passable lets others enter a directory of a test.
func passable(t *testing.T, dir string) {
	t.Helper()
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, info.Mode().Perm()|0o055); err != nil {
		t.Fatal(err)
	}
}

// The container has what a bake asks the host for.
func TestContainerfile(t *testing.T) {
	list, err := os.ReadFile("../../tools/debian-packages")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(readFile(t, "../../docs/ci/Containerfile"))
	for line := range strings.Lines(string(list)) {
		if f := strings.Fields(line); len(f) > 2 && strings.HasPrefix(f[2], "bake") && !slices.Contains(words, f[0]) {
			t.Errorf("the Containerfile lacks %s", f[0])
		}
	}
}
