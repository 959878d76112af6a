// Package agentbinary is the hostcheck that travels inside a released plugin. `packer init` unpacks one program from a release and
// leaves everything else behind, so the agent that goes into images and machines has to be in that program.
package agentbinary

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/strongroom/strongroom/internal/atomicfile"
)

// ErrNone says that this build of the plugin carries no agent.
var ErrNone = errors.New("this build of the plugin carries no hostcheck")

// Unpack gives the path of the agent as a program in dir, under a name that says its digest. It is written once; a file
// there that is not the agent any more is replaced.
func Unpack(dir string) (string, error) {
	return unpack(program, dir)
}

func unpack(program []byte, dir string) (string, error) {
	if len(program) == 0 {
		return "", ErrNone
	}
	want := sha256.Sum256(program)
	path := filepath.Join(dir, "hostcheck-"+hex.EncodeToString(want[:8]))
	if got, err := digest(path); err == nil && got == want {
		return path, nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("cannot unpack hostcheck: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("cannot unpack hostcheck: %w", err)
	}
	err := atomicfile.Write(path, 0o755, func(w io.Writer) error {
		_, err := w.Write(program)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("cannot unpack hostcheck: %w", err)
	}
	return path, nil
}

// digest is that of a regular file that can be executed; anything else counts as not there.
func digest(path string) (sum [sha256.Size]byte, err error) {
	info, err := os.Lstat(path)
	if err != nil {
		return sum, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm() != 0o755 {
		return sum, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return sum, err
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}
