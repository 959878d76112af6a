package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Retention says which archives are kept. Those that are kept by Least count only when they were verified and lie there in full length.
type Retention struct {
	For   time.Duration // older ones go
	Least int           // the newest ones stay however old they are; 1 or more
	Most  int           // 0: as many as there are
}

// stored is an archive in a sink.
type stored struct {
	archive   Object
	at        time.Time
	manifest  bool // there is one beside it
	rehearsed bool // there is a word beside it about a restore
}

// stock lists the archives of a cluster in a sink, the newest first, and the names of what lies beside none.
func stock(ctx context.Context, s Sink, cluster string) (archives []stored, orphans []string, err error) {
	objects, err := s.List(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot list: %w", err)
	}
	there := map[string]bool{}
	for _, o := range objects {
		there[o.Name] = true
	}
	for _, o := range objects {
		if at, ours := takenAt(cluster, o.Name); ours {
			archives = append(archives, stored{o, at, there[o.Name+manifestSuffix], there[o.Name+rehearsalSuffix]})
			continue
		}
		for _, suffix := range []string{rehearsalSuffix, manifestSuffix} {
			if archive, ok := strings.CutSuffix(o.Name, suffix); ok && !there[archive] {
				if _, ours := takenAt(cluster, archive); ours {
					orphans = append(orphans, o.Name)
				}
			}
		}
	}
	slices.SortFunc(archives, func(a, b stored) int {
		if c := b.at.Compare(a.at); c != 0 {
			return c
		}
		return strings.Compare(b.archive.Name, a.archive.Name)
	})
	return archives, orphans, nil
}

// verified gives the manifest of an archive that counts: it was read back once, and has the length that it had then.
func (a stored) verified(ctx context.Context, s Sink) (Manifest, error) {
	if !a.manifest {
		return Manifest{}, errors.New(a.archive.Name + " has no manifest: it was never found whole")
	}
	r, err := s.Open(ctx, a.archive.Name+manifestSuffix)
	if err != nil {
		return Manifest{}, err
	}
	defer r.Close()
	content, err := io.ReadAll(io.LimitReader(r, maxManifest))
	if err != nil {
		return Manifest{}, err
	}
	m, err := ParseManifest(content, a.archive.Name)
	if err == nil && m.Encrypted.Size != a.archive.Size {
		err = fmt.Errorf("%s has %d bytes, and its manifest says %d", a.archive.Name, a.archive.Size, m.Encrypted.Size)
	}
	return m, err
}

// unfinished is how long an archive without a manifest may be one that somebody is just putting there.
const unfinished = 24 * time.Hour

// Prune deletes what is not kept. Nothing is deleted before the archives that stay by count have been found whole, so the last
// verified one never is. It goes on after a failure, and tells all of them.
func Prune(ctx context.Context, s Sink, cluster string, r Retention, now time.Time) (removed []string, err error) {
	archives, orphans, err := stock(ctx, s, cluster)
	if err != nil {
		return nil, err
	}
	var errs []error
	remove := func(name string) {
		if err := s.Remove(ctx, name); err != nil {
			errs = append(errs, fmt.Errorf("cannot delete %s: %w", name, err))
			return
		}
		removed = append(removed, name)
	}
	kept := 0
	for _, a := range archives {
		old := now.Sub(a.at)
		if kept < max(r.Least, 1) {
			_, err := a.verified(ctx, s)
			switch {
			case err == nil:
				kept++
			case ctx.Err() != nil:
				return removed, ctx.Err()
			case !a.manifest && old > unfinished:
				remove(a.archive.Name)
			case a.manifest:
				errs = append(errs, fmt.Errorf("it does not count: %w", err))
			}
			continue
		}
		if a.manifest {
			kept++
		}
		if old <= r.For && (r.Most == 0 || kept <= r.Most) || !a.manifest && old <= unfinished {
			continue
		}
		// The manifest last: what is left half-way is found by the next run.
		remove(a.archive.Name)
		if a.rehearsed {
			remove(a.archive.Name + rehearsalSuffix)
		}
		if a.manifest {
			remove(a.archive.Name + manifestSuffix)
		}
	}
	for _, name := range orphans {
		remove(name)
	}
	return removed, errors.Join(errs...)
}
