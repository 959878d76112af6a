package host

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestReadAppArmor(t *testing.T) {
	root := t.TempDir()
	write := func(p, content string) {
		t.Helper()
		p = filepath.Join(root, appArmorPolicy, p)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ask := func() ([]AppArmorProfile, error) {
		h, err := Live(LiveOptions{Root: root})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		return h.AppArmor()
	}
	if _, err := ask(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a kernel without AppArmor: %v, want that nothing is there", err)
	}
	write("vault.4/name", "vault\n")
	write("vault.4/mode", "enforce\n")
	write("vault.4/raw_sha256", "aa\n")
	write("hostcheck.2/name", "hostcheck\n")
	write("hostcheck.2/mode", "complain\n")
	write("hostcheck.2/raw_sha1", "bb\n")
	write("old.0/name", "old\n")
	write("old.0/mode", "enforce\n")
	got, err := ask()
	want := []AppArmorProfile{{"hostcheck", "complain", "sha1:bb"}, {"old", "enforce", ""}, {"vault", "enforce", "sha256:aa"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if err := os.Remove(filepath.Join(root, appArmorPolicy, "old.0/mode")); err != nil {
		t.Fatal(err)
	}
	if got, err := ask(); err == nil {
		t.Errorf("a profile whose mode cannot be read: %+v and no error", got)
	}
}
