package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// As the documentation says it: a key that gpg has made, the verb, and an installer that has gpgv, sha256sum and tar.
func TestSignedOverlay(t *testing.T) {
	dir := t.TempDir()
	home := filepath.Join(dir, "gnupg")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	shell := func(line string) (string, error) {
		cmd := exec.Command("sh", "-c", line)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "GNUPGHOME="+home)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	must := func(line string) {
		t.Helper()
		if out, err := shell(line); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
	must("gpg --batch --quiet --pinentry-mode loopback --passphrase 'open sesame' --quick-generate-key builder@example.com ed25519 sign 1y")
	defer shell("gpgconf --kill all")
	must("gpg --batch --pinentry-mode loopback --passphrase 'open sesame' --armor --export-secret-keys builder@example.com >builder.key")
	must("gpg --batch --export builder@example.com >builder.gpg")
	must("echo 'open sesame' >passphrase")

	in := func(name string) string { return filepath.Join(dir, name) }

	// What an installer fetches is signed by its manifest.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := cli("metal", "--profile", "vault/metal", "--image-version", "1.4.0", "--url", "https://srv.example/node", "--disk", "/dev/disk/by-id/ata-X", "--server", self,
		"--hostcheck", self, "--output", in("node"), "--sign-key", in("builder.key"), "--sign-passphrase-file", in("passphrase")); code != 0 {
		t.Fatal(stderr)
	}
	signed := "gpgv --keyring ./builder.gpg node/manifest.json.sig node/manifest.json"
	must(signed)
	must("sed -i s/preseed/Preseed/ node/manifest.json")
	if _, err := shell(signed); err == nil {
		t.Error("gpgv takes another manifest")
	}
	for name, layout := range map[string]string{"overlay.tar": "sealed", "overlay.tar.zst": "installed"} {
		var signatures [2][]byte
		for i := range signatures {
			if code, _, stderr := cli("overlay", "--layout", layout, "--output", in(name), "--sign-key", in("builder.key"), "--sign-passphrase-file", in("passphrase")); code != 0 {
				t.Fatal(stderr)
			}
			var err error
			if signatures[i], err = os.ReadFile(in(name + ".sig")); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(signatures[0], signatures[1]) {
			t.Error("two runs sign differently")
		}
		verify := "gpgv --keyring ./builder.gpg " + name + ".sig " + name
		must(verify)
		must("sha256sum --strict -c " + name + ".sha256")
		must("mkdir root && tar --keep-directory-symlink -xpf " + name + " -C root && test -e root/usr/share/strongroom/baseline.json; rm -r root")
		must("printf x | dd of=" + name + " bs=1 seek=1000 conv=notrunc")
		if _, err := shell(verify); err == nil {
			t.Error("gpgv takes a flipped byte")
		}
		if _, err := shell("sha256sum --strict -c " + name + ".sha256"); err == nil {
			t.Error("sha256sum takes a flipped byte")
		}
	}
	for line, says := range map[string]string{
		"overlay --output - --sign-key " + in("builder.key") + " --sign-passphrase-file " + in("passphrase"): "a stream has no file beside it",
		"overlay --sign-passphrase-file x":        "needs --sign-key",
		"overlay --sign-key /nowhere/key":         "cannot read the signing key",
		"overlay --sign-key " + in("builder.gpg"): "only the public half",
		"overlay --sign-key " + in("builder.key"): "protected by a passphrase",
		"overlay --sign-key " + in("builder.key") + " --output /nowhere/x --sign-passphrase-file " + in("passphrase"): "cannot write the overlay",
	} {
		if code, _, stderr := cli(strings.Fields(line)...); code == 0 || !strings.Contains(stderr, says) {
			t.Errorf("%s: exit status %d, %q, want an error that says %q", line, code, stderr, says)
		}
	}
}
