package baseline

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
)

// Waivers are a user's decisions to run with controls that fail, as one file states them.
type Waivers struct {
	file    string
	entries []waiverEntry
}

type waiverEntry struct {
	control.Waiver
	line    int
	expires string // as it was written
}

type waiverFile struct {
	Waivers []waiverText `yaml:"waivers"`
}

type waiverText struct {
	Control string `yaml:"control"`
	Reason  string `yaml:"reason"`
	Owner   string `yaml:"owner"`
	Expires string `yaml:"expires"`
}

// ParseWaivers reads a file of waivers:
//
//	waivers:
//	  - control: kernel-lockdown
//	    reason: the vendor's driver is not signed yet, ticket OPS-1234
//	    owner: storage team
//	    expires: 2027-01-31
//
// All mistakes are reported at once, each with file and line.
func ParseWaivers(file string, content []byte) (*Waivers, error) {
	root, err := document(file, content)
	if err != nil {
		return nil, err
	}
	var parsed waiverFile
	if err := decodeStrict(root, &parsed); err != nil {
		return nil, inFile(file, err)
	}
	if len(parsed.Waivers) == 0 {
		return nil, fmt.Errorf("%s: no waivers in it (waivers: [{control: …, reason: …, owner: …, expires: …}])", place(file, root.Line))
	}
	w := &Waivers{file: file}
	var errs []error
	seen := map[string]int{}
	for i, line := range itemLines(root, "waivers") {
		t := parsed.Waivers[i]
		e := waiverEntry{line: line, expires: t.Expires, Waiver: control.Waiver{
			Control: t.Control, Reason: strings.TrimSpace(t.Reason), Owner: strings.TrimSpace(t.Owner),
		}}
		complain := func(err error) {
			errs = append(errs, fmt.Errorf("%s: waiver of %q: %w", place(file, line), t.Control, err))
		}
		if t.Expires != "" {
			if e.Expires, err = control.ParseExpiry(t.Expires); err != nil {
				complain(fmt.Errorf("expires %w", err))
				continue
			}
		}
		if err := e.Valid(); err != nil {
			complain(err)
			continue
		}
		if before, dup := seen[t.Control]; dup {
			complain(fmt.Errorf("there is one already, in line %d", before))
			continue
		}
		seen[t.Control] = line
		w.entries = append(w.entries, e)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return w, nil
}

// Waive adds waivers to the baseline. lapsed says which of them cover nothing any more, by the clock of whoever
// bakes: an image that begins its life with a failure is a mistake of the one who made it.
func (b *Baseline) Waive(w *Waivers, lapsed func(control.Waiver) bool) error {
	var errs []error
	all := slices.Clone(b.Waivers)
	for _, e := range w.entries {
		complain := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("%s: waiver of %q: %w", place(w.file, e.line), e.Control, fmt.Errorf(format, args...)))
		}
		c, known := b.Find(e.Control)
		switch {
		case !known:
			complain("this profile has no such control (imagebuild controls lists them)")
		case c.Procedural():
			complain("it is a procedure, which no check fails: there is nothing to waive")
		case lapsed(e.Waiver):
			complain("it has expired (%s): decide again and give it a later day, or take it out and let the control fail", e.expires)
		}
		all = append(all, e.Waiver)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return b.setWaivers(all)
}

// setWaivers takes waivers in the order of the canonical form. What a baseline cannot mean is refused: a waiver that
// names nothing would be believed and do nothing.
func (b *Baseline) setWaivers(waivers []control.Waiver) error {
	slices.SortFunc(waivers, func(a, z control.Waiver) int { return strings.Compare(a.Control, z.Control) })
	for i, w := range waivers {
		if err := w.Valid(); err != nil {
			return fmt.Errorf("waiver of %q: %w", w.Control, err)
		}
		if _, known := b.Find(w.Control); !known {
			return fmt.Errorf("waiver of %q: there is no such control", w.Control)
		}
		if i > 0 && waivers[i-1].Control == w.Control {
			return fmt.Errorf("waiver of %q: there are two", w.Control)
		}
		waivers[i].Expires = w.Expires.UTC()
	}
	b.Waivers = waivers
	return nil
}

// Waiver gives the waiver that names a control, or nil.
func (b *Baseline) Waiver(id string) *control.Waiver {
	for i, w := range b.Waivers {
		if w.Control == id {
			return &b.Waivers[i]
		}
	}
	return nil
}
