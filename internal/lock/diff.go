package lock

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	version "github.com/knqyf263/go-deb-version"
)

// Kind says what happened to one thing between two locks.
type Kind string

// Kinds of change, in the order in which they are shown.
const (
	Added      Kind = "added"
	Removed    Kind = "removed"
	Upgraded   Kind = "upgraded"
	Downgraded Kind = "downgraded"
	Rebuilt    Kind = "rebuilt" // the same version, another file
	Changed    Kind = "changed" // what has no order: a program, the moment of the image
)

var kinds = []Kind{Added, Removed, Upgraded, Downgraded, Rebuilt, Changed}

// Change is one difference.
type Change struct {
	Kind     Kind
	Name     string // of the package, the path of the program, or the field
	Old, New string // versions or values; a rebuilt package's are its digests
	Package  bool
}

func (c Change) String() string {
	switch c.Kind {
	case Added:
		return fmt.Sprintf("%-10s %s %s", c.Kind, c.Name, c.New)
	case Removed:
		return fmt.Sprintf("%-10s %s %s", c.Kind, c.Name, c.Old)
	default:
		return fmt.Sprintf("%-10s %s %s -> %s", c.Kind, c.Name, c.Old, c.New)
	}
}

// Diff lists what differs: packages first, by kind and name, then programs, then the rest. The version of the builder
// and the moment of the dated archive are no property of an image and do not count.
func Diff(from, to File) []Change {
	from.sort()
	to.sort()
	changes := slices.Concat(diffPackages(from, to), diffPrograms(from, to))
	field := func(name, a, b string) {
		if a != b {
			changes = append(changes, Change{Kind: Changed, Name: name, Old: a, New: b})
		}
	}
	field("distribution", from.Distribution, to.Distribution)
	field("source_date_epoch", moment(from.Epoch), moment(to.Epoch))
	changes = append(changes, diffNames("asked by the builder:", from.Asked.Builder, to.Asked.Builder)...)
	return append(changes, diffNames("asked by the template:", from.Asked.Template, to.Asked.Template)...)
}

func diffPackages(from, to File) []Change {
	var changes []Change
	names := map[string]bool{}
	for _, p := range slices.Concat(from.Packages, to.Packages) {
		names[p.Name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		a, had := from.Find(name)
		b, has := to.Find(name)
		c := Change{Name: name, Old: a.Version, New: b.Version, Package: true}
		switch {
		case !had:
			c.Kind = Added
		case !has:
			c.Kind = Removed
		case a.Version != b.Version:
			c.Kind = Upgraded
			if Compare(a.Version, b.Version) > 0 {
				c.Kind = Downgraded
			}
		case a.SHA256 != b.SHA256 || a.Size != b.Size || a.Architecture != b.Architecture:
			c.Kind, c.Old, c.New = Rebuilt, "sha256 "+a.SHA256, b.SHA256
		default:
			continue // where a file of the same digest comes from does not matter
		}
		changes = append(changes, c)
	}
	slices.SortStableFunc(changes, func(a, b Change) int {
		return cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind))
	})
	return changes
}

func diffPrograms(from, to File) []Change {
	var changes []Change
	for _, a := range from.Programs {
		b, has := to.Program(a.Path)
		switch {
		case !has:
			changes = append(changes, Change{Kind: Removed, Name: a.Path, Old: "sha256 " + a.SHA256})
		case a.SHA256 != b.SHA256:
			changes = append(changes, Change{Kind: Changed, Name: a.Path, Old: "sha256 " + a.SHA256, New: b.SHA256})
		}
	}
	for _, b := range to.Programs {
		if _, had := from.Program(b.Path); !had {
			changes = append(changes, Change{Kind: Added, Name: b.Path, New: "sha256 " + b.SHA256})
		}
	}
	return changes
}

// Compare orders two versions as dpkg does. What is no version is smaller than any.
func Compare(a, b string) int {
	x, errX := version.NewVersion(a)
	y, errY := version.NewVersion(b)
	if errX != nil || errY != nil {
		return strings.Compare(a, b)
	}
	return x.Compare(y)
}

func moment(epoch int64) string {
	return fmt.Sprintf("%d (%s)", epoch, time.Unix(epoch, 0).UTC().Format(time.DateOnly))
}

func diffNames(field string, from, to []string) []Change {
	var changes []Change
	for _, n := range from {
		if !slices.Contains(to, n) {
			changes = append(changes, Change{Kind: Removed, Name: field, Old: n})
		}
	}
	for _, n := range to {
		if !slices.Contains(from, n) {
			changes = append(changes, Change{Kind: Added, Name: field, New: n})
		}
	}
	return changes
}

// Summary counts changes by kind: "2 added, 1 upgraded".
func Summary(changes []Change) string {
	counts := map[Kind]int{}
	for _, c := range changes {
		counts[c.Kind]++
	}
	var parts []string
	for _, k := range kinds {
		if counts[k] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[k], k))
		}
	}
	if len(parts) == 0 {
		return "no changes"
	}
	return strings.Join(parts, ", ")
}
