//go:build slow

package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/node/nodetest"
	"github.com/strongroom/strongroom/internal/retire"
)

// writer writes to the cluster all the time and knows what was acknowledged; beside it somebody counts the voters that are up.
type writer struct {
	end  func()
	done sync.WaitGroup

	mu     sync.Mutex
	asked  []*member
	keys   []string // acknowledged
	looks  int
	fewest int
}

// also has a member asked that has come later.
func (x *writer) also(m *member) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.asked = append(slices.Clone(x.asked), m)
}

func (x *writer) members() []*member {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.asked
}

func (w *world) writes() *writer {
	w.t.Helper()
	ctx, end := context.WithCancel(context.Background())
	out := &writer{end: end, fewest: 1 << 10, asked: slices.Clone(w.members)}
	if _, err := w.active().root().Logical().Write("sys/mounts/written", map[string]any{"type": "kv"}); err != nil {
		w.t.Fatal(err)
	}
	out.done.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			key := fmt.Sprintf("written/%05d", n)
			for _, m := range out.members() {
				limited, cancel := context.WithTimeout(ctx, 2*time.Second)
				_, err := m.root().Logical().WriteWithContext(limited, key, map[string]any{"n": n})
				cancel()
				if err == nil {
					out.mu.Lock()
					out.keys = append(out.keys, key)
					out.mu.Unlock()
					break
				}
			}
		}
	})
	session := w.rootSession()
	out.done.Go(func() {
		for ctx.Err() == nil {
			for _, m := range out.members() {
				members, err := configuration(ctx, m.asked(), session)
				if err != nil {
					continue
				}
				up := 0
				for _, voter := range members {
					for _, other := range out.members() {
						if voter.Voter && voter.ID == other.id {
							if s, err := look(ctx, other.asked()); err == nil && s.initialized && !s.sealed {
								up++
							}
						}
					}
				}
				if ctx.Err() != nil {
					return
				}
				out.mu.Lock()
				out.looks++
				out.fewest = min(out.fewest, up)
				out.mu.Unlock()
				break
			}
		}
	})
	w.t.Cleanup(func() { end(); out.done.Wait() })
	return out
}

// holds ends the writing: everything that was acknowledged is there, and never fewer voters than these were up.
func (x *writer) holds(w *world, fewest int) {
	w.t.Helper()
	x.end()
	x.done.Wait()
	leader := w.active()
	lost := 0
	for _, key := range x.keys {
		s, err := leader.root().Logical().Read(key)
		if err != nil || s == nil {
			lost++
		}
	}
	w.t.Logf("%d writes acknowledged, %d lost; %d looks, never fewer than %d voters up", len(x.keys), lost, x.looks, x.fewest)
	if lost > 0 || len(x.keys) < 20 || x.looks < 10 || x.fewest < fewest {
		w.t.Errorf("%d of %d writes lost, %d voters up at one of %d looks", lost, len(x.keys), x.fewest, x.looks)
	}
}

func (w *world) rootSession() *Session {
	var o Options
	w.withRoot(&o)
	return o.Session
}

// threeWhoLogIn is three voters whose nodes have no more than the documented policy.
func threeWhoLogIn(t *testing.T, p product) (*world, map[*member]*Joiner) {
	w := newWorld(t, p, true)
	first := w.add("first").start().answering()
	first.initialize()
	w.quickVoters(first)
	w.letNodesLogIn(t, first)
	for _, id := range []string{"second", "third"} {
		w.joins(w.add(id), first)
	}
	w.tolerates(first, 1)
	joiners := map[*member]*Joiner{}
	for _, m := range w.members {
		joiners[m], _ = m.joiner(m.identity(first), m.withCertificate)
	}
	return w, joiners
}

func (w *world) joins(m, leader *member) *Joiner {
	w.t.Helper()
	m.start().answering()
	j, seen := m.joiner(m.identity(leader), m.withCertificate)
	// As the agent does: on a busy machine the leader may change meanwhile.
	nodetest.Eventually(w.t, m.id+" is a member", 3*waitLong, func() error {
		if err := j.Once(w.t.Context()); err != nil {
			return fmt.Errorf("%w\n%s", err, seen.names())
		}
		return nil
	})
	return j
}

func (w *world) standbys() []*member {
	leader := w.active()
	var out []*member
	for _, m := range w.members {
		if m != leader {
			out = append(out, m)
		}
	}
	return out
}

func (m *member) isMarked() bool {
	_, err := os.Stat(filepath.Join(m.dir, retiredMark))
	return err == nil
}

// Under a writer the active node retires and another takes its place, and so on until all three are new ones: no acknowledged write is
// lost and two voters are always up.
func TestRetireAllUnderAWriter(t *testing.T) {
	forEachProduct(t, func(t *testing.T, p product) {
		w, joiners := threeWhoLogIn(t, p)
		writing := w.writes()
		old := slices.Clone(w.members)
		for i, m := range append(w.standbys(), w.active()) {
			var did []string
			if err := joiners[m].Retire(t.Context(), Retirement{Wait: time.Minute, Done: func(s string) { did = append(did, s) }}); err != nil {
				t.Fatalf("%s: %v after %q", m.id, err, did)
			}
			t.Logf("%s: %q", m.id, did)
			leader := w.active()
			fresh := w.add(fmt.Sprintf("new-%d", i))
			writing.also(fresh)
			w.joins(fresh, leader)
		}
		got := w.raft(w.active())
		if len(got) != 3 {
			t.Errorf("members %+v", got)
		}
		for _, m := range old {
			if _, there := got[m.id]; there || !m.isMarked() {
				t.Errorf("%s is still there, or not marked", m.id)
			}
		}
		writing.holds(w, 2)
	})
}

// Two retire at once: one goes, and the other waits until there is a third again, or refuses.
func TestTwoRetireAtOnce(t *testing.T) {
	forEachProduct(t, func(t *testing.T, p product) {
		for _, replaced := range []bool{true, false} {
			t.Run(fmt.Sprintf("replaced %t", replaced), func(t *testing.T) {
				w, joiners := threeWhoLogIn(t, p)
				writing := w.writes()
				wait := 45 * time.Second
				if replaced {
					wait = 2 * time.Minute
				}
				type result struct {
					m   *member
					err error
				}
				results := make(chan result, 2)
				var mu sync.Mutex
				waited := map[string][]string{}
				for _, m := range []*member{w.active(), w.standbys()[0]} {
					go func() {
						err := joiners[m].Retire(t.Context(), Retirement{Wait: wait, Done: func(string) {}, Waiting: func(why error) {
							mu.Lock()
							defer mu.Unlock()
							waited[m.id] = append(waited[m.id], why.Error())
						}})
						results <- result{m, err}
					}()
				}
				first := <-results
				if first.err != nil {
					t.Fatalf("%s: %v; %q", first.m.id, first.err, waited)
				}
				if got := w.raft(w.active()); len(got) != 2 {
					t.Errorf("members %+v", got)
				}
				if replaced {
					fresh := w.add("fourth")
					writing.also(fresh)
					w.joins(fresh, w.active())
				}
				second := <-results
				mu.Lock()
				t.Logf("%s went, then %s: %v; waiting: %q", first.m.id, second.m.id, second.err, waited)
				if len(waited[second.m.id]) == 0 {
					t.Error("the second did not wait")
				}
				mu.Unlock()
				if replaced && (second.err != nil || !second.m.isMarked()) {
					t.Errorf("%v", second.err)
				}
				if !replaced {
					expectRefusal(t, second.err, ByQuorum, true, "the cluster can lose no voter now (failure tolerance 0)")
					if second.m.isMarked() {
						t.Error("it is marked all the same")
					}
				}
				if got := w.raft(w.active()); len(got) != 2 {
					t.Errorf("members %+v", got)
				}
				writing.holds(w, 2)
			})
		}
	})
}

// The holder of the lock dies with it: while its server lives on, the others wait until the lock has ended, and the dead one's late
// write is refused. Then a server dies, and the second failure is refused with the reason.
func TestHolderOfTheLockDies(t *testing.T) {
	forEachProduct(t, func(t *testing.T, p product) {
		w, joiners := threeWhoLogIn(t, p)
		holder, other := w.standbys()[0], w.standbys()[1]
		dead, lives := joiners[holder], joiners[other]
		for _, j := range []*Joiner{dead, lives} {
			if err := j.token(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		members, refusal, err := dead.spare(t.Context())
		if err != nil || refusal != nil {
			t.Fatal(err, refusal)
		}
		held, err := dead.takeTurn(t.Context(), &turn{}, members)
		if err != nil {
			t.Fatal(err)
		}
		taken := time.Now()
		expectRefusal(t, lives.Retire(t.Context(), now(func(string) {})), ByTurn, false, holder.id+" is being taken out")
		var waited []string
		if err := lives.Retire(t.Context(), Retirement{Wait: time.Minute, Done: func(string) {}, Waiting: func(why error) { waited = append(waited, why.Error()) }}); err != nil {
			t.Fatalf("%v; %q", err, waited)
		}
		if after := time.Since(taken); after < quickLimits().Turn || len(waited) == 0 {
			t.Errorf("it did not wait: %s, %q", after, waited)
		}
		// What the dead one would do when it were not dead.
		_, err = dead.writeTurn(t.Context(), held, holder.id)
		expectRefusal(t, err, ByTurn, false, "another node was faster")
		if got := w.raft(w.active()); len(got) != 2 {
			t.Errorf("members %+v", got)
		}

		// The one that went cannot give the lock back: it is free, because its holder is no member.
		w.joins(w.add("fourth"), w.active())
		w.tolerates(w.active(), 1)
		// A forced double failure.
		var killed, left *member
		for _, m := range w.standbys() {
			if m == other {
				continue
			}
			if killed == nil {
				killed = m
			} else {
				left = m
			}
		}
		if left == nil {
			left = w.active()
		}
		killed.kill()
		w.tolerates(w.active(), 0)
		j, _ := left.joiner(left.identity(w.active()), left.withCertificate)
		began := time.Now()
		err = j.Retire(t.Context(), Retirement{Wait: 3 * time.Second, Done: func(string) {}})
		expectRefusal(t, err, ByQuorum, true, "the cluster would lose its quorum: of the 2 voters that stay 1 are healthy, and 2 are needed")
		t.Logf("refused after %s: %v", time.Since(began).Round(time.Second), err)
		if got := w.raft(w.active()); len(got) != 3 || left.isMarked() {
			t.Errorf("members %+v", got)
		}
	})
}

// The node's token may lock and read the lock, and neither destroy nor look around.
func TestPolicyOfTheLock(t *testing.T) {
	forEachProduct(t, func(t *testing.T, p product) {
		w, joiners := threeWhoLogIn(t, p)
		j := joiners[w.active()]
		if err := j.token(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct{ method, path string }{
			{http.MethodGet, "strongroom/config"}, {http.MethodPost, "strongroom/config"}, {http.MethodGet, "strongroom/metadata/retire"}, {http.MethodDelete, "strongroom/metadata/retire"},
			{http.MethodDelete, TurnPath}, {http.MethodPost, "strongroom/destroy/retire"}, {http.MethodPost, "strongroom/data/other"}, {http.MethodGet, "strongroom/metadata?list=true"},
		} {
			if err := j.server.ask(t.Context(), c.method, c.path, j.Session.Reveal(), map[string]any{}, nil); !denied(err) {
				t.Errorf("%s %s: %v", c.method, c.path, err)
			}
		}
		err := j.server.ask(t.Context(), http.MethodPost, TurnPath, j.Session.Reveal(), map[string]any{"data": map[string]string{"holder": "x"}}, nil)
		if err == nil || !strings.Contains(err.Error(), "check-and-set parameter required") {
			t.Errorf("a write that does not say what it replaces: %v", err)
		}
	})
}

// hook is a cloud that ends this machine and waits for its word.
type hook struct {
	holds    int
	released func() error
	done     bool
}

func (h *hook) Ask(context.Context) (retire.Notice, error) {
	return retire.Notice{Fate: retire.Goes, Why: "the group terminates this instance"}, nil
}
func (h *hook) Hold(context.Context, retire.Notice) error { h.holds++; return nil }
func (h *hook) Release(context.Context, retire.Notice) error {
	h.done = true
	return h.released()
}

// A lifecycle hook is held while the cluster cannot lose the node, and completed when the node is no member any more.
func TestHook(t *testing.T) {
	forEachProduct(t, func(t *testing.T, p product) {
		w, joiners := threeWhoLogIn(t, p)
		dead, goes := w.standbys()[0], w.standbys()[1]
		dead.kill()
		w.tolerates(w.active(), 0)
		h := &hook{released: func() error {
			if _, member := w.raft(w.active())[goes.id]; member {
				t.Error("the hook is completed, and the node is still a member")
			}
			return nil
		}}
		var said []string
		ended := make(chan struct{})
		waits := make(chan struct{})
		var waiting sync.Once
		go func() {
			defer close(ended)
			retire.Watch(t.Context(), retire.Options{
				Cloud: h, Leave: joiners[goes].Leave, Log: slog.New(slog.DiscardHandler), Limits: retire.Limits{Ask: 50 * time.Millisecond, Hold: 100 * time.Millisecond, Try: 50 * time.Millisecond},
				Retire: func(ctx context.Context, tell func(error)) error {
					return joiners[goes].Retire(ctx, Retirement{Wait: 10 * time.Minute, Waiting: tell, Done: func(string) {}})
				},
				Report: func(s retire.Status) {
					said = append(said, string(s.State)+" "+s.Reason)
					if strings.Contains(s.Reason, "would lose its quorum") {
						waiting.Do(func() { close(waits) })
					}
				},
			})
		}()
		<-waits
		if got := w.raft(w.active()); len(got) != 3 {
			t.Errorf("members %+v", got)
		}
		dead.start().answering()
		<-ended
		t.Logf("%d requests for time; %q", h.holds, said)
		if !h.done || h.holds == 0 || !strings.HasPrefix(said[len(said)-1], "done ") || !goes.isMarked() {
			t.Errorf("%+v, %q", h, said)
		}
		if got := w.raft(w.active()); len(got) != 2 {
			t.Errorf("members %+v", got)
		}
	})
}
