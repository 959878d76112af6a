package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/strongroom/strongroom/internal/leaks"
)

// leakMemory is the name in the cache of what earlier bakes found no secret in.
const leakMemory = "leaks"

const allowHint = "what has to stay is allowed by a block allow_leak with its path, kind and the reason (docs/leaked-secrets.md)"

// mostLeaks bounds what an error tells of.
const mostLeaks = 20

// LeakGate looks through the sealed tree for what must not be in an image: secrets, and what is left of the machine that baked. An image that has
// any of it is never made.
func (a *Assembly) LeakGate(ctx context.Context) error {
	return a.step(ctx, stepLeakGate, stepSeal, func(ctx context.Context) error {
		memory, err := leaks.OpenMemory(a.cache.path(leakMemory))
		if err != nil {
			return err
		}
		report, err := a.scanTree(ctx, &leaks.Scanner{Memory: memory})
		if len(report.Findings) > 0 {
			err = errors.Join(leaked(report.Findings), err)
		}
		if err != nil {
			return withHint(err, allowHint)
		}
		a.log.DebugContext(ctx, "no leaks", "files", report.Files, "mib", report.Bytes>>20, "known_mib", report.Remembered>>20)
		return memory.Save()
	})
}

// scanTree reads the tree as a tar: an ordinary user may not open every file of it from outside.
func (a *Assembly) scanTree(ctx context.Context, s *leaks.Scanner) (leaks.Report, error) {
	pack := a.box.command(ctx, "tar", "--create", "--directory="+a.box.path(treeDir), "--numeric-owner", "--sort=name", "--hard-dereference", "--file=-", ".")
	r, w := io.Pipe()
	pack.Stdout = w
	packed := make(chan error, 1)
	go func() {
		err := a.box.run(pack)
		w.CloseWithError(err) // nil is the end of the file
		packed <- err
	}()
	report, err := s.Tar(ctx, r, a.spec.AllowedLeaks)
	r.CloseWithError(errors.New("the scan has ended"))
	if failed := <-packed; err == nil && failed != nil {
		err = failed
	}
	if err != nil {
		return report, fmt.Errorf("cannot look for leaks: %w", err)
	}
	return report, nil
}

// leaked is the error of an image that is not made. It never has a secret.
func leaked(findings []leaks.Finding) error {
	var text strings.Builder
	fmt.Fprintf(&text, "%d in the tree that must not be in an image:", len(findings))
	for i, f := range findings {
		if i == mostLeaks {
			fmt.Fprintf(&text, "\n  and %d more", len(findings)-i)
			break
		}
		fmt.Fprintf(&text, "\n  %s\n    %s", f, f.Fix)
	}
	return errors.New(text.String())
}
