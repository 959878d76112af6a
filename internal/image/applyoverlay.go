package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/strongroom/strongroom/internal/overlay"
)

// ApplyOverlay unpacks the overlay and the binaries onto the tree, both with links resolved inside
// the tree, and makes the system accounts that their sysusers.d asks for: the root is read-only
// when it boots. AppArmor profiles of the overlay are compiled.
func (a *Assembly) ApplyOverlay(ctx context.Context) error {
	return a.step(ctx, stepOverlay, stepBaseTree, func(ctx context.Context) error {
		archive, err := statedEntries(a.spec.Overlay)
		if err != nil {
			return err
		}
		if err := a.unpackInTree(ctx, "/", bytes.NewReader(archive)); err != nil {
			return fmt.Errorf("cannot unpack the overlay: %w", err)
		}
		for _, b := range a.spec.Binaries {
			if err := a.installBinary(ctx, b); err != nil {
				return fmt.Errorf("cannot install %s: %w", b.Path, err)
			}
		}
		if err := a.box.run(a.Command(ctx, "systemd-sysusers")); err != nil {
			return fmt.Errorf("cannot make the system accounts: %w", err)
		}
		// The distribution gives root and sync a shell. It is taken here and not when the tree is
		// sealed, so that an account which a provisioner adds is not mended but found.
		if err := a.box.run(a.Command(ctx, "sed", "-i", `s#:[^:]*$#:/usr/sbin/nologin#`, "/etc/passwd")); err != nil {
			return fmt.Errorf("cannot take the login shells away: %w", err)
		}
		return a.compilePolicies(ctx)
	})
}

// statedEntries is the overlay's tar without the directories that it only passes through: those
// keep the mode that their package gave them.
func statedEntries(t *overlay.Tree) ([]byte, error) {
	whole, err := t.Tar()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for r := tar.NewReader(bytes.NewReader(whole)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			err := w.Close()
			return out.Bytes(), err
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag == tar.TypeDir && t.Owner("/"+strings.TrimSuffix(h.Name, "/")) == "" {
			continue
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := io.Copy(w, r); err != nil {
			return nil, err
		}
	}
}

func (a *Assembly) installBinary(ctx context.Context, b Binary) error {
	f, err := os.Open(b.Source)
	if err != nil {
		return err
	}
	defer f.Close()
	loader, err := interpreter(f)
	if err != nil {
		return err
	}
	if loader != "" {
		if err := a.box.run(a.Command(ctx, "test", "-x", loader)); err != nil {
			return withHint(fmt.Errorf("%s wants the interpreter %s, which the image lacks", b.Source, loader),
				"build it statically (CGO_ENABLED=0), or add the package that has the interpreter")
		}
	}
	// To be run, a program need not be readable; and the kernel lets nobody dump or trace the process of an account that
	// cannot read its program.
	return a.Upload(ctx, b.Path, 0o711, f)
}
