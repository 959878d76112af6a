//go:build slow

package main

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func output(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = "../..", append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s (make deps)", program)
		}
	}
}

// The packages hold the same files and nothing that runs by itself, their formats' own checkers find nothing, two of one
// source are the same, and on a bare Debian the one installs and the program says what it finds.
func TestPackages(t *testing.T) {
	need(t, "lintian", "rpm", "mmdebstrap", "dpkg-deb")
	output(t, nil, "make", "build")
	make := func() (deb, rpm string) {
		dir := t.TempDir()
		output(t, nil, "tools/package", dir)
		debs, _ := filepath.Glob(filepath.Join(dir, "*.deb"))
		rpms, _ := filepath.Glob(filepath.Join(dir, "*.rpm"))
		if len(debs) != 1 || len(rpms) != 1 {
			t.Fatalf("made %v and %v", debs, rpms)
		}
		return debs[0], rpms[0]
	}
	deb, rpm := make()
	deb2, rpm2 := make()
	for a, b := range map[string]string{deb: deb2, rpm: rpm2} {
		one, _ := os.ReadFile(a)
		if other, _ := os.ReadFile(b); !bytes.Equal(one, other) {
			t.Errorf("%s is another one the second time", filepath.Base(a))
		}
	}

	if says := output(t, nil, "lintian", "--allow-root", "--fail-on", "error,warning", deb); strings.Contains(says, "hostcheck:") {
		t.Errorf("lintian: %s", says)
	}
	if says := output(t, nil, "rpm", "--checksig", "--nosignature", rpm); !strings.Contains(says, "digests OK") {
		t.Errorf("rpm: %s", says)
	}
	if says := output(t, nil, "rpm", "-qp", "--scripts", "--triggers", rpm); says != "" {
		t.Errorf("the rpm runs something: %s", says)
	}
	if says := output(t, nil, "dpkg-deb", "--info", deb); regexp.MustCompile(`(?m)(preinst|postinst|prerm|postrm)`).MatchString(says) {
		t.Errorf("the deb runs something: %s", says)
	}
	ours := strings.Fields(output(t, nil, "rpm", "-qpl", rpm))
	var theirs []string
	for line := range strings.Lines(output(t, nil, "dpkg-deb", "--contents", deb)) {
		if name := strings.Fields(line)[5]; !strings.HasSuffix(name, "/") && !strings.Contains(name, "lintian") {
			theirs = append(theirs, strings.TrimPrefix(name, "."))
		}
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	if !slices.Equal(ours, theirs) || len(ours) < 25 {
		t.Errorf("the rpm has\n%v\nthe deb has\n%v", ours, theirs)
	}
	for _, name := range ours {
		if strings.Contains(name, ".wants/") || strings.Contains(name, ".requires/") {
			t.Errorf("%s enables a unit", name)
		}
	}

	tree := filepath.Join(t.TempDir(), "baseline.json")
	if err := os.WriteFile(tree, []byte(output(t, nil, "bin/imagebuild", "controls", "--json", "--layout", "installed", "--distribution", "debian/bookworm")), 0o644); err != nil {
		t.Fatal(err)
	}
	says := output(t, nil, "mmdebstrap", "--quiet", "--variant=essential", "--format=null",
		"--customize-hook=copy-in "+deb+" "+tree+" /root",
		`--customize-hook=chroot "$1" sh -c 'dpkg -i /root/hostcheck*.deb && hostcheck --version && ls /usr/share/doc/hostcheck/copyright'`,
		`--customize-hook=chroot "$1" sh -c 'hostcheck verify; echo bare exits with $?'`,
		`--customize-hook=chroot "$1" sh -c 'hostcheck verify --baseline /root/baseline.json; echo judged exits with $?'`,
		`--customize-hook=chroot "$1" sh -c 'dpkg --purge hostcheck && ! test -e /usr/bin/hostcheck && echo gone'`,
		"bookworm", "/dev/null")
	for _, want := range []string{"hostcheck version ", "bare exits with 2", "name a baseline with --baseline", "judged exits with 1", "verdict FAIL at stage boot", "gone\n"} {
		if !strings.Contains(says, want) {
			t.Errorf("in the tree nothing says %q:\n%.4000s", want, says)
		}
	}
}

// `make install` puts everything below DESTDIR, and the units start the program that it installed.
func TestInstall(t *testing.T) {
	output(t, nil, "make", "build")
	dir := t.TempDir()
	output(t, []string{"DESTDIR=" + dir, "PREFIX=/opt/strongroom"}, "tools/install", "hostcheck", "imagebuild")
	for _, want := range []string{
		"bin/hostcheck", "bin/imagebuild", "share/man/man1/hostcheck.1.gz", "share/man/man1/imagebuild-fleet.1.gz", "share/bash-completion/completions/imagebuild",
		"share/zsh/site-functions/_hostcheck", "share/fish/vendor_completions.d/hostcheck.fish", "lib/tmpfiles.d/strongroom.conf", "lib/systemd/system/hostcheck.service",
	} {
		if info, err := os.Stat(filepath.Join(dir, "opt/strongroom", want)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", want, err)
		}
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !strings.HasPrefix(path, filepath.Join(dir, "opt/strongroom")) {
			t.Errorf("%s is not below the prefix", path)
		}
		if text, _ := os.ReadFile(path); strings.Contains(path, "systemd") && bytes.Contains(text, []byte("/usr/bin/hostcheck")) {
			t.Errorf("%s starts another program", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	// Completion knows the commands, their flags, and what these take.
	for line, want := range map[string]string{"hostcheck ver": "verify", "hostcheck verify --sta": "--stage", "imagebuild fleet --prom": "--prometheus"} {
		words := strings.Fields(line)
		if says := output(t, nil, filepath.Join(dir, "opt/strongroom/bin", words[0]), append([]string{"__complete"}, words[1:]...)...); !strings.Contains(says, want) {
			t.Errorf("%s<Tab>: %s", line, says)
		}
	}
}
