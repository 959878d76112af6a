//go:build bake && slow

package plugin_test

import (
	"archive/zip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// goreleaser itself makes the release, from a clone with a tag; gpgv believes its checksums, and what is in the zip is what
// TestPackerInit has made from the same configuration.
func TestGoreleaser(t *testing.T) {
	home := filepath.Join(t.TempDir(), "gnupg")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	shell := func(line string) string {
		t.Helper()
		cmd := exec.Command("sh", "-euc", line)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "GNUPGHOME="+home, "GPG_FINGERPRINT=releases@example.com", "GITHUB_TOKEN=none", "GOWORK=off")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	goreleaser, err := exec.Command("../../tools/build", "--path", "goreleaser").Output()
	if err != nil {
		t.Fatal(err)
	}
	tool := strings.TrimSpace(string(goreleaser))
	shell("gpg --batch --quiet --pinentry-mode loopback --passphrase '' --quick-generate-key releases@example.com ed25519 sign 1y; gpg --export >key.gpg")
	defer shell("gpgconf --kill all")
	shell("git clone --quiet '" + root + "' tree && cd tree && git tag v" + releaseVersion + " && git remote set-url origin https://github.com/strongroom/packer-plugin-strongroom.git")
	shell("cd tree && '" + tool + "' check && '" + tool + "' release --clean --skip=publish,announce")

	dist := filepath.Join(dir, "tree/dist")
	shell("cd tree/dist && gpgv --keyring ../../key.gpg packer-plugin-strongroom_v9.8.7_SHA256SUMS.sig packer-plugin-strongroom_v9.8.7_SHA256SUMS && sha256sum --strict -c packer-plugin-strongroom_v9.8.7_SHA256SUMS")
	const archive = "packer-plugin-strongroom_v9.8.7_x5.0_linux_amd64.zip"
	if got, want := inZip(t, filepath.Join(dist, archive)), inZip(t, filepath.Join(makeRelease(t), archive)); got != want && shell("git -C '"+root+"' status --porcelain") == "" {
		t.Error("goreleaser's plugin is not the one that TestPackerInit makes")
	}
}

// inZip is the content of the one file in an archive, which must have the archive's name without ".zip".
func inZip(t *testing.T, name string) string {
	t.Helper()
	z, err := zip.OpenReader(name)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	if len(z.File) != 1 || z.File[0].Name+".zip" != filepath.Base(name) || z.File[0].Mode().Perm()&0o111 == 0 {
		t.Fatalf("%s has %d files, the first is %s with mode %v", name, len(z.File), z.File[0].Name, z.File[0].Mode())
	}
	r, err := z.File[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
