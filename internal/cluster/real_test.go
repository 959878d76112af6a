package cluster

import "testing"

func forEachProduct(t *testing.T, test func(*testing.T, product)) {
	for _, p := range products(t) {
		t.Run(p.name, func(t *testing.T) { test(t, p) })
	}
}

// Three nodes with a seal that unseals by itself: one is initialized, two join unattended.
func TestThreeNodesJoin(t *testing.T) {
	forEachProduct(t, func(t *testing.T, p product) {
		w := newWorld(t, p, true)
		first := w.add("first").start().answering()
		first.initialize()
		w.quickVoters(first)

		second := w.add("second").start().answering()
		j, seen := second.joiner(second.identity(first), w.withRoot)
		if err := j.Once(t.Context()); err != nil {
			t.Fatalf("%v\n%s", err, seen.names())
		}
		want := "gate api local find prove judge join unseal listed ready"
		if p.nonVoters {
			want = "gate api local find prove judge join unseal listed promote listed ready"
		}
		if got := seen.names(); got != want {
			t.Errorf("states %s, want %s", got, want)
		}
		if s := j.Status(); !s.Voter || s.Leader != w.active().url() {
			t.Errorf("status %+v", s)
		}

		// The third knows only a standby, and has no token.
		third := w.add("third").start().answering()
		j, seen = third.joiner(third.identity(second))
		if err := j.Once(t.Context()); err != nil {
			t.Fatalf("%v\n%s", err, seen.names())
		}
		if s := j.Status(); s.Leader != w.active().url() || len(s.Peers) != 2 {
			t.Errorf("status %+v", s)
		}
		if got := w.raft(w.active()); len(got) != 3 {
			t.Errorf("members %+v", got)
		}
		// Once more: nothing is to be done.
		j, seen = third.joiner(third.identity(second))
		if err := j.Once(t.Context()); err != nil || seen.names() != "gate api local listed ready" {
			t.Errorf("%v: %s", err, seen.names())
		}
	})
}
