package host

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// AppArmorProfile is one profile that the kernel has loaded.
type AppArmorProfile struct {
	Name string `json:"name"`
	Mode string `json:"mode"` // "enforce", "complain", "kill", "unconfined", "prompt"
	// Digest is the kernel's own over the compiled policy as it was loaded: "sha256:…", or "sha1:…" of
	// kernels before 6.8, in hex. Empty when the kernel keeps no such digest.
	Digest string `json:"digest,omitempty"`
}

// appArmorPolicy is where the kernel shows its policy. "policy" is a magic link into a file system of
// AppArmor's own that is mounted nowhere. Resolution inside a root refuses it, so this is read past
// it; a tree of fixtures has a directory there.
const appArmorPolicy = "sys/kernel/security/apparmor/policy/profiles"

// AppArmor implements Host.
func (l *LiveHost) AppArmor() ([]AppArmorProfile, error) {
	v, err := l.appArmor.get(func() ([]AppArmorProfile, error) { return readAppArmor(filepath.Join(l.dir, appArmorPolicy)) })
	return slices.Clone(v), err
}

func readAppArmor(dir string) ([]AppArmorProfile, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list the policy of AppArmor: %w", err)
	}
	out := make([]AppArmorProfile, 0, len(entries))
	for _, e := range entries {
		p, err := readAppArmorProfile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("cannot read the policy of AppArmor: %w", err)
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b AppArmorProfile) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

func readAppArmorProfile(dir string) (p AppArmorProfile, err error) {
	read := func(name string) string {
		b, e := os.ReadFile(filepath.Join(dir, name))
		err = errors.Join(err, e)
		return strings.TrimSpace(string(b))
	}
	p.Name, p.Mode = read("name"), read("mode")
	if err != nil {
		return p, err
	}
	for _, algorithm := range []string{"sha256", "sha1"} {
		if digest := read("raw_" + algorithm); err == nil {
			p.Digest = algorithm + ":" + digest
			return p, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return p, err
		}
		err = nil
	}
	return p, nil
}

// AppArmor answers ErrNotRunning.
func (*RootTree) AppArmor() ([]AppArmorProfile, error) { return nil, ErrNotRunning }

// AppArmor implements Host.
func (r *Recorder) AppArmor() ([]AppArmorProfile, error) {
	return recorded(r, "AppArmor", "", r.host.AppArmor)
}

// AppArmor implements Host.
func (r *Recording) AppArmor() ([]AppArmorProfile, error) {
	return replayed[[]AppArmorProfile](r, "AppArmor", "")
}
