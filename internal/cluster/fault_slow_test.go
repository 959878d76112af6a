//go:build slow

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// The joiner is killed, or its server is, as it enters each state: the next pass ends with a member, and with one peer.
func TestCutAtEveryState(t *testing.T) {
	forEachProduct(t, func(t *testing.T, p product) {
		w := newWorld(t, p, true)
		first := w.add("first").start().answering()
		first.initialize()
		w.quickVoters(first)
		states := []State{Gate, API, Local, Find, Prove, Judge, Join, Unseal, Listed}
		if p.nonVoters {
			states = append(states, Promote)
		}
		for _, power := range []bool{false, true} {
			for _, at := range states {
				name := fmt.Sprintf("%s, power %t", at, power)
				t.Run(name, func(t *testing.T) {
					m := w.add(fmt.Sprintf("node-%d", len(w.members)+1)).start().answering()
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					j, seen := m.joiner(m.identity(first), w.withRoot)
					var cut atomic.Bool
					seen.on = func(s Status) {
						if s.State == at && cut.CompareAndSwap(false, true) {
							if power {
								m.kill()
							}
							cancel()
						}
					}
					err := j.Once(ctx)
					if !cut.Load() {
						t.Fatalf("it was not cut: %v, %s", err, seen.names())
					}
					if power {
						m.start().answering()
					}
					j, seen = m.joiner(m.identity(first), w.withRoot)
					err = j.Once(t.Context())
					var refusal *Refusal
					switch torn := errors.As(err, &refusal) && refusal.Final && strings.Contains(refusal.Reason, "lost its power while it joined"); {
					case torn && power && (at == Unseal || at == Listed):
						// The server had written that it joined, and nothing else yet.
					case err != nil:
						t.Errorf("%v\n%s", err, seen.names())
					case !w.raft(first)[m.id].Voter:
						t.Errorf("%+v", w.raft(first))
					}
					// The next case has a cluster of its own size again: an even number of voters would lose its quorum with one kill.
					if _, err := first.root().Logical().Write("sys/storage/raft/remove-peer", map[string]any{"server_id": m.id}); err != nil {
						t.Fatal(err)
					}
					m.kill()
				})
			}
		}
		if got := w.raft(first); len(got) != 1 {
			t.Errorf("members %+v", got)
		}
	})
}

// The power goes while the server joins, at moments that nobody chose. What follows is a member, or a refusal that says what is torn; never a
// second peer.
func TestPowerCutWhileJoining(t *testing.T) {
	forEachProduct(t, func(t *testing.T, p product) {
		w := newWorld(t, p, true)
		first := w.add("first").start().answering()
		first.initialize()
		w.quickVoters(first)
		ends := map[string]int{}
		for _, after := range []time.Duration{0, 5, 10, 20, 40, 80, 160} {
			m := w.add(fmt.Sprintf("node-%d", len(w.members)+1)).start().answering()
			j, seen := m.joiner(m.identity(first), w.withRoot)
			cut := make(chan struct{})
			ctx, cancel := context.WithCancel(t.Context())
			var once atomic.Bool
			seen.on = func(s Status) {
				if s.State == Join && once.CompareAndSwap(false, true) {
					time.AfterFunc(after*time.Millisecond, func() { m.kill(); cancel(); close(cut) })
				}
			}
			_ = j.Once(ctx)
			<-cut
			m.start().answering()
			j, seen = m.joiner(m.identity(first), w.withRoot)
			err := j.Once(t.Context())
			var refusal *Refusal
			switch {
			case err == nil:
				ends["a member"]++
				if got := w.raft(first)[m.id]; !got.Voter {
					t.Errorf("after %d ms: %+v", after, got)
				}
			case errors.As(err, &refusal) && refusal.Final && strings.Contains(refusal.Reason, "lost its power while it joined"):
				ends["torn"]++
			default:
				t.Errorf("after %d ms: %v\n%s", after, err, seen.names())
			}
			peers := w.raft(first) // says when one is there twice
			if _, there := peers[m.id]; there {
				if _, err := first.root().Logical().Write("sys/storage/raft/remove-peer", map[string]any{"server_id": m.id}); err != nil {
					t.Fatal(err)
				}
			}
			m.kill()
		}
		t.Logf("%s: %v", p.name, ends)
	})
}

// Half of a storage is worse than none: it is refused, and the cluster does not change.
func TestTornStorage(t *testing.T) {
	forEachProduct(t, func(t *testing.T, p product) {
		w := threeNodes(t, p)
		leader := w.active()
		var m *member
		for _, other := range w.members {
			if other != leader {
				m = other
			}
		}
		before := w.raft(leader)
		keep := filepath.Join(t.TempDir(), "vault.db")
		m.kill()
		if err := os.Rename(filepath.Join(m.data(), "vault.db"), keep); err != nil {
			t.Fatal(err)
		}
		m.start().answering()
		j, _ := m.joiner(m.identity(leader), w.withRoot)
		expectRefusal(t, j.Once(t.Context()), ByJoin, true, "its server has no data")
		// Without the mark of a member, it is the server that refuses.
		j, seen := m.joiner(m.identity(leader), w.withRoot, func(o *Options) { o.StateDir = t.TempDir() })
		expectRefusal(t, j.Once(t.Context()), ByJoin, true, "a Raft log, and no data that go with it")
		if after := w.raft(leader); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("members %+v, before %+v; %s", after, before, seen.names())
		}

		// The reverse.
		m.kill()
		if err := errors.Join(os.Rename(keep, filepath.Join(m.data(), "vault.db")), os.RemoveAll(filepath.Join(m.data(), "raft"))); err != nil {
			t.Fatal(err)
		}
		m.start().answering()
		j, seen = m.joiner(m.identity(leader), w.withRoot, func(o *Options) { o.Limits.Unseal, o.Limits.Listed = 10*time.Second, 10*time.Second })
		err := j.Once(t.Context())
		t.Logf("%s without its Raft log: %v; %s", p.name, err, seen.names())
		if after := w.raft(w.active()); len(after) != 3 {
			t.Errorf("members %+v", after)
		}
	})
}

// The leader dies as the node is about to join it: the node follows the next one.
func TestLeaderDiesWhileJoining(t *testing.T) {
	forEachProduct(t, func(t *testing.T, p product) {
		w := threeNodes(t, p)
		leader := w.active()
		fourth := w.add("fourth").start().answering()
		j, seen := fourth.joiner(fourth.identity(w.members[:3]...), w.withRoot, func(o *Options) { o.Limits.Leader = time.Minute })
		var cut atomic.Bool
		seen.on = func(s Status) {
			if s.State == Join && cut.CompareAndSwap(false, true) {
				leader.kill()
			}
		}
		if err := j.Once(t.Context()); err != nil {
			t.Fatalf("%v: %s", err, seen.names())
		}
		got := w.raft(w.active())
		if len(got) != 4 || !got["fourth"].Voter {
			t.Errorf("members %+v", got)
		}
		t.Log(seen.names())
	})
}
