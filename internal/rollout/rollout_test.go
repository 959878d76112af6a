package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/check"
)

const (
	oldRoot = "aaaa"
	newRoot = "bbbb"
)

// played is a cluster whose members come and go as it is told, and that counts how few healthy voters it ever had.
type played struct {
	t       *testing.T
	members []Member
	log     []string
	fewest  int
	outside *Member // a node that is no member
	lost    error   // what RemovePeer answers after it has done so
}

func (p *played) Look(context.Context) (Cluster, error) {
	healthy := 0
	for _, m := range p.members {
		if m.Voter && m.Healthy {
			healthy++
		}
	}
	p.fewest = min(p.fewest, healthy)
	return Cluster{Members: slices.Clone(p.members), Tolerance: max(0, healthy-(len(p.members)/2+1))}, nil
}

func (p *played) Node(_ context.Context, host string) Member {
	if p.outside != nil && p.outside.Host == host {
		return *p.outside
	}
	return Member{Silent: errors.New("no route")}
}

func (p *played) StepDown(_ context.Context, m Member) error {
	p.log = append(p.log, "step down "+m.ID)
	for i := range p.members {
		p.members[i].Active = false
	}
	i := slices.IndexFunc(p.members, func(o Member) bool { return o.ID != m.ID && o.Root == newRoot })
	if i < 0 {
		p.t.Errorf("%s hands over, and nobody runs the new image", m.ID)
		i = 0
	}
	p.members[i].Active = true
	return nil
}

func (p *played) RemovePeer(_ context.Context, m Member) error {
	p.log = append(p.log, "remove "+m.ID)
	p.members = slices.DeleteFunc(p.members, func(o Member) bool { return o.ID == m.ID })
	return p.lost
}

func (p *played) replace(_ context.Context, m Member) error {
	p.log = append(p.log, "replace "+m.ID)
	p.join(Member{ID: m.ID + "'", Root: newRoot, Version: "2.0.0", Verdict: check.Pass, Voter: true, Healthy: true})
	return nil
}

func (p *played) join(m Member) { p.members = append(p.members, m) }

func newPlayed(t *testing.T) *played {
	node := func(id, version string) Member {
		return Member{ID: id, Host: id, Voter: true, Healthy: true, Version: version, Image: "node " + version, Root: oldRoot, Verdict: check.Pass}
	}
	p := &played{t: t, fewest: 99, members: []Member{node("n1", "1.10.0"), node("n2", "1.10.0"), node("n3", "1.9.0")}}
	p.members[0].Active = true
	return p
}

func (p *played) rollout() *Rollout {
	return &Rollout{Cluster: p, Target: Target{Root: newRoot, Version: "2.0.0"}, Replace: p.replace, Patience: 20 * time.Millisecond, Pace: time.Millisecond,
		Say: func(line string) { p.log = append(p.log, "- "+line) }}
}

func (p *played) did() string {
	return strings.Join(slices.DeleteFunc(slices.Clone(p.log), func(l string) bool { return strings.HasPrefix(l, "- ") }), ", ")
}

// The oldest image goes first, the active node last and only after it has handed over; a second run has nothing to do.
func TestRun(t *testing.T) {
	p := newPlayed(t)
	p.lost = errors.New("the answer was lost")
	if err := p.rollout().Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := "remove n3, replace n3, remove n2, replace n2, step down n1, remove n1, replace n1"
	if got := p.did(); got != want {
		t.Errorf("%s; want %s", got, want)
	}
	if p.fewest < 2 {
		t.Errorf("only %d healthy voters at some moment", p.fewest)
	}
	p.log = nil
	if err := p.rollout().Run(t.Context()); err != nil || p.did() != "" {
		t.Errorf("again: %v, %s", err, p.did())
	}
}

// What keeps a rollout from its first step changes nothing.
func TestChangesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*played, *Rollout)
		want  string
	}{
		"no quorum": {func(p *played, _ *Rollout) { p.members[1].Healthy, p.members[1].Root = false, newRoot }, "without n3 the cluster would have no quorum: of the 2 voters that stay 1 are healthy, and 2 are needed"},
		"no voter to spare": {func(p *played, _ *Rollout) {
			p.members[1].Healthy, p.members[1].Root = false, newRoot
			p.join(Member{ID: "n4", Voter: true, Healthy: true, Root: newRoot, Verdict: check.Pass})
		}, "autopilot's failure tolerance is 0"},
		"one node":            {func(p *played, _ *Rollout) { p.members = p.members[:1] }, "n1 is the only member"},
		"a member is missing": {func(p *played, r *Rollout) { p.members, r.Size = p.members[:2], 3 }, "the cluster has 2 of 3 members"},
		"an agent says nothing": {func(p *played, _ *Rollout) {
			p.members[2].Root, p.members[2].Silent = "", errors.New("connection refused")
		}, "n3: connection refused"},
		"the new image fails": {func(p *played, _ *Rollout) {
			p.members[2].Root, p.members[2].Verdict, p.members[2].Failed = newRoot, check.Fail, []string{"memory-swap-off"}
		}, "n3 runs the new image and does not pass: memory-swap-off"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlayed(t)
			r := p.rollout()
			c.spoil(p, r)
			err := r.Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "nothing was changed") {
				t.Errorf("%v; want nothing was changed … %s", err, c.want)
			}
			if p.did() != "" {
				t.Errorf("it did %s", p.did())
			}
		})
	}
}

// The first node that does not come up as it should is the last that is replaced.
func TestStops(t *testing.T) {
	good := Member{ID: "new", Root: newRoot, Verdict: check.Pass, Voter: true, Healthy: true}
	for name, c := range map[string]struct {
		replace func(*played) error
		want    string
	}{
		"the command fails": {func(*played) error { return errors.New("exit status 1") }, "n3 has left the cluster, and its replacement failed: exit status 1"},
		"nobody comes":      {func(*played) error { return nil }, "in place of n3: no new node has joined (no longer waited for, after 20ms)"},
		"the old image":     {func(p *played) error { m := good; m.Root = oldRoot; p.join(m); return nil }, "new has joined with another image"},
		"it fails": {func(p *played) error {
			m := good
			m.Verdict, m.Failed = check.Fail, []string{"x"}
			p.join(m)
			return nil
		}, "new runs the new image and does not pass: x"},
		"it never votes": {func(p *played) error { m := good; m.Voter = false; p.join(m); return nil }, "new has joined and is not a healthy voter yet"},
		"its gate stays closed": {func(p *played) error {
			p.outside = &Member{Host: "n3", Root: newRoot, Verdict: check.Fail, Failed: []string{"y"}}
			return nil
		}, "the node at n3 runs the new image and does not pass: y"},
		"it passes and does not join": {func(p *played) error { p.outside = &Member{Host: "n3", Root: newRoot, Verdict: check.Pass}; return nil }, "the node at n3 passes and has not joined yet"},
		"its agent is silent":         {func(p *played) error { m := good; m.Silent = errors.New("no route"); p.join(m); return nil }, "new: no route"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlayed(t)
			r := p.rollout()
			r.Replace = func(context.Context, Member) error { return c.replace(p) }
			err := r.Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v; want %s", err, c.want)
			}
			if got := p.did(); got != "remove n3" {
				t.Errorf("it did %s", got)
			}
		})
	}
}

// A dead member of the old image goes first, although its agent says nothing and autopilot counts no failure more.
func TestDeadMemberFirst(t *testing.T) {
	p := newPlayed(t)
	p.members[1].Healthy, p.members[1].Root, p.members[1].Silent = false, "", errors.New("no route")
	if err := p.rollout().Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := p.did(); !strings.HasPrefix(got, "remove n2, replace n2, remove n3") {
		t.Error(got)
	}
}

func TestCompareVersions(t *testing.T) {
	versions := []string{"2.0.0", "1.10.0", "nightly", "1.9.0", "1.10.0-rc1", ""}
	slices.SortFunc(versions, compareVersions)
	if got, want := fmt.Sprintf("%q", versions), `["" "nightly" "1.9.0" "1.10.0-rc1" "1.10.0" "2.0.0"]`; got != want {
		t.Errorf("%s; want %s", got, want)
	}
}
