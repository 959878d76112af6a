package check_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// TestEveryCheckCanFail is the proof that no check of the catalogue is a rubber stamp, for every control of
// every profile, with no list of controls, kinds or facts that somebody could forget to extend:
//
//   - on a conforming node the control passes;
//   - whatever it asks the node, when the answer cannot be read, it is unknown;
//   - each of its observations fails when an answer is broken in the right way.
//
// What a control asks is recorded while it is judged. An answer is broken in the ways of
// checktest.Breakages; an observation that none of these turns red fails this test.
func TestEveryCheckCanFail(t *testing.T) {
	profiles := checktest.Profiles()
	proven := map[string]bool{} // what several controls or profiles state is proven once
	total := proof{}
	for _, name := range slices.Sorted(maps.Keys(profiles)) {
		b := checktest.Compile(t, profiles[name])
		h := checktest.Node(t, b)
		for _, c := range b.Controls {
			if len(c.Resources) == 0 {
				t.Errorf("%s: %s states nothing", name, c.ID)
			}
			for _, res := range c.Resources {
				statement := statement(t, c.Stage, res)
				if proven[statement] {
					continue
				}
				proven[statement] = true
				p, gaps := prove(t, b, c, res, h, denied)
				total = total.plus(p)
				for _, gap := range gaps {
					t.Errorf("%s: %s: %s", name, c.ID, gap)
				}
			}
		}
	}
	t.Logf("%d statements; %d facts unreadable; %d observations broken by %d breakages", len(proven), total.facts, total.observations, total.breakages)
}

// statement is all that a verdict depends on, beside the host.
func statement(t *testing.T, stage control.Stage, r control.Resource) string {
	t.Helper()
	fields, err := baseline.Fields(r)
	if err != nil {
		t.Fatal(err)
	}
	return stage.String() + " " + r.Key().String() + " " + fields
}

var denied = &fs.PathError{Op: "read", Path: "the fact", Err: fs.ErrPermission}

// proof counts what was tried.
type proof struct{ facts, observations, breakages int }

func (p proof) plus(q proof) proof {
	return proof{p.facts + q.facts, p.observations + q.observations, p.breakages + q.breakages}
}

// prove breaks all that a resource of a control asks of a host on which it passes. What it could not break are the
// gaps. The outcome of a control is the worst of its resources.
func prove(t *testing.T, b *baseline.Baseline, c control.Control, res control.Resource, h host.Host, unreadable error) (p proof, gaps []string) {
	t.Helper()
	gap := func(format string, args ...any) { gaps = append(gaps, fmt.Sprintf(format, args...)) }
	c.Resources = []control.Resource{res}
	stage := max(c.Stage, control.StageBoot)
	untouched, asked := checktest.Facts(t.Context(), b, c, h, stage)
	switch {
	case untouched.Outcome == control.NotApplicable && len(asked) == 0:
		return p, nil // a procedure: nothing is looked at, and nothing is said to hold
	case untouched.Outcome != control.Pass:
		gap("is %s on a conforming node\n%s", untouched.Outcome, complainOf(untouched))
		return p, gaps
	case len(asked) == 0:
		gap("passes and asks the host nothing")
	}
	judge := func(answers map[checktest.Fact]checktest.Answer) check.ControlResult {
		return check.One(t.Context(), b, c, checktest.Replace(h, answers), stage)
	}
	for _, f := range checktest.SortedFacts(asked) {
		p.facts++
		if r := judge(map[checktest.Fact]checktest.Answer{f: {Err: unreadable}}); r.Outcome != control.Unknown {
			gap("is %s when %s cannot be read, want unknown", r.Outcome, f)
		}
	}

	left := map[string]bool{} // sources of what passes: the same fact has the same one whether it holds or not
	for _, o := range untouched.Observations {
		if o.Outcome == control.Pass {
			left[o.Source] = true
		}
	}
	p.observations = len(left)
	for breakage := range checktest.Breakages(res, asked) {
		p.breakages++
		for _, o := range judge(breakage.Answers).Observations {
			if o.Outcome == control.Fail {
				delete(left, o.Source)
			}
		}
		if len(left) == 0 {
			return p, gaps
		}
	}
	for source := range left {
		gap("nothing that was tried makes %q of %s fail, so a pass of it proves nothing; if the kind is right, checktest.known needs a case for it",
			source, res.Key())
	}
	return p, gaps
}

func complainOf(c check.ControlResult) string {
	return complain(&check.Report{Controls: []check.ControlResult{c}})
}

// TestBreakageStaysWithItsControl runs the whole catalogue on nodes on which one observation is broken. Controls that ask
// nothing of what was broken do not change, although all of them share one view of the host.
func TestBreakageStaysWithItsControl(t *testing.T) {
	b := checktest.Compile(t, checktest.Profile())
	h := checktest.Node(t, b)
	const stage = control.StageMember
	untouched := run(t, b, h, stage)
	asked := map[string]map[checktest.Fact]checktest.Answer{}
	for _, c := range b.Controls {
		_, asked[c.ID] = checktest.Facts(t.Context(), b, c, h, stage)
	}
	for _, c := range b.Controls {
		breakage, ok := someBreakage(t, b, c, h, asked[c.ID], stage)
		if !ok {
			continue // TestEveryCheckCanFail says so where it is wrong
		}
		r := run(t, b, checktest.Replace(h, breakage.Answers), stage)
		for i, got := range r.Controls {
			before := untouched.Controls[i].Outcome
			asks := slices.ContainsFunc(slices.Collect(maps.Keys(breakage.Answers)), func(f checktest.Fact) bool { _, ok := asked[got.Control.ID][f]; return ok })
			switch {
			case got.Control.ID == c.ID && got.Outcome != control.Fail:
				t.Errorf("%s: %s is %s", breakage.Name, c.ID, got.Outcome)
			case !asks && got.Outcome != before:
				t.Errorf("%s: %s, which does not ask for it, is %s and was %s\n%s", breakage.Name, got.Control.ID, got.Outcome, before, complainOf(got))
			}
		}
	}
}

// someBreakage gives one that makes a control fail.
func someBreakage(t *testing.T, b *baseline.Baseline, c control.Control, h host.Host, asked map[checktest.Fact]checktest.Answer, stage control.Stage) (checktest.Breakage, bool) {
	t.Helper()
	for _, res := range c.Resources {
		for breakage := range checktest.Breakages(res, asked) {
			if check.One(t.Context(), b, c, checktest.Replace(h, breakage.Answers), stage).Outcome == control.Fail {
				return breakage, true
			}
		}
	}
	return checktest.Breakage{}, false
}

// stamp stands for kinds with bugs. It is a file resource by name.
type stamp struct {
	control.Resource
	verify func(h host.Host) (control.Outcome, error)
}

func (s stamp) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

func (s stamp) Verify(_ context.Context, h host.Host, _ control.Stage) []control.Observation {
	outcome, err := s.verify(h)
	return []control.Observation{{Resource: s.Key(), Layer: control.Effective, Outcome: outcome, Source: "/etc/fact", Err: err}}
}

// A test that looks for gaps must find those that are there.
func TestProofFindsRubberStamps(t *testing.T) {
	content := func(h host.Host) (string, error) {
		b, err := h.ReadFile("/etc/fact")
		return string(b), err
	}
	for name, c := range map[string]struct {
		verify func(h host.Host) (control.Outcome, error)
		gap    string // "" for a kind without one
	}{
		"a check that checks": {func(h host.Host) (control.Outcome, error) {
			switch text, err := content(h); {
			case err != nil && !errors.Is(err, fs.ErrNotExist):
				return control.Unknown, err
			case text != "right\n":
				return control.Fail, nil
			}
			return control.Pass, nil
		}, ""},
		"it looks and does not compare": {func(h host.Host) (control.Outcome, error) {
			if _, err := content(h); err != nil {
				return control.Unknown, err
			}
			return control.Pass, nil
		}, "nothing that was tried"},
		"what cannot be read passes": {func(h host.Host) (control.Outcome, error) {
			if text, err := content(h); err == nil && text != "right\n" {
				return control.Fail, nil
			}
			return control.Pass, nil
		}, "is pass when ReadFile(/etc/fact) cannot be read"},
		"what cannot be read fails": {func(h host.Host) (control.Outcome, error) {
			if text, err := content(h); err != nil || text != "right\n" {
				return control.Fail, nil
			}
			return control.Pass, nil
		}, "is fail when ReadFile(/etc/fact) cannot be read"},
		"it does not look": {func(host.Host) (control.Outcome, error) { return control.Pass, nil }, "asks the host nothing"},
		"it never passes":  {func(host.Host) (control.Outcome, error) { return control.Pending, nil }, "is pending on a conforming node"},
	} {
		t.Run(name, func(t *testing.T) {
			b := checktest.Compile(t, checktest.Profile())
			ctl := b.Controls[0]
			ctl.Stage = control.StageBoot
			_, gaps := prove(t, b, ctl, stamp{ctl.Resources[0], c.verify}, checktest.Node(t, b).File("/etc/fact", "right\n"), denied)
			if c.gap == "" && len(gaps) > 0 || c.gap != "" && !strings.Contains(strings.Join(gaps, "\n"), c.gap) {
				t.Errorf("gaps %q, want %q", gaps, c.gap)
			}
		})
	}
}
