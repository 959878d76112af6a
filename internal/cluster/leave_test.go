package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/node/nodetest"
)

// threeNodes is a healthy cluster of three voters.
func threeNodes(t *testing.T, p product) *world {
	t.Helper()
	w := newWorld(t, p, true)
	first := w.add("first").start().answering()
	first.initialize()
	w.quickVoters(first)
	for _, id := range []string{"second", "third"} {
		m := w.add(id).start().answering()
		j, seen := m.joiner(m.identity(first), w.withRoot)
		if err := j.Once(t.Context()); err != nil {
			t.Fatalf("%v\n%s", err, seen.names())
		}
	}
	w.haveTurns(w.active())
	w.tolerates(first, 1)
	return w
}

// now does not wait, and anyway does not ask.
func now(done func(string)) Retirement    { return Retirement{Done: done} }
func anyway(done func(string)) Retirement { return Retirement{Done: done, RiskQuorum: true} }

// haveTurns does what docs/retire.md tells the operator to do.
func (w *world) haveTurns(asked *member) {
	w.t.Helper()
	if err := asked.root().Sys().Mount("strongroom", &api.MountInput{Type: "kv", Options: map[string]string{"version": "2"}}); err != nil {
		w.t.Fatal(err)
	}
	nodetest.Eventually(w.t, "the engine is ready", waitLong, func() error {
		_, err := asked.root().Logical().Write("strongroom/config", map[string]any{"cas_required": true})
		return err
	})
}

// tolerates waits until autopilot says that the cluster can lose so many.
func (w *world) tolerates(asked *member, failures int) {
	w.t.Helper()
	nodetest.Eventually(w.t, fmt.Sprintf("the cluster tolerates %d failures", failures), waitLong, func() error {
		state, err := asked.root().Sys().RaftAutopilotState()
		if err == nil && (state == nil || state.FailureTolerance != failures) {
			err = fmt.Errorf("%v", state)
		}
		return err
	})
}

// active is the member that leads.
func (w *world) active() *member {
	w.t.Helper()
	var found *member
	nodetest.Eventually(w.t, "somebody leads", waitLong, func() error {
		for _, m := range w.members {
			if m.process == nil {
				continue
			}
			if s, err := look(context.Background(), m.asked()); err == nil && s.active {
				found = m
				return nil
			}
		}
		return errors.New("nobody")
	})
	return found
}

// agentPolicy is the policy that the documentation tells operators to write.
func agentPolicy(t *testing.T) string {
	t.Helper()
	doc, err := os.ReadFile("../../docs/node.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(doc), "```hcl\n# strongroom-agent:")
	policy, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatal("docs/node.md has no policy for the agent")
	}
	return "# " + policy
}

// withCertificate makes the joiner log in with the certificate of its node.
func (m *member) withCertificate(o *Options) {
	own := func() (*tls.Certificate, error) { return &m.certificate, nil }
	o.Certificate = own
	o.Session = NewSession(node.Secret{}, func() *node.Auth { return &node.Auth{Method: "cert", Mount: "cert", Role: "strongroom-node"} }, own)
}

// letNodesLogIn does what docs/join.md tells the operator to do.
func (w *world) letNodesLogIn(t *testing.T, leader *member) {
	t.Helper()
	root := leader.root()
	if err := root.Sys().PutPolicy("strongroom-agent", agentPolicy(t)); err != nil {
		t.Fatal(err)
	}
	w.haveTurns(leader)
	if err := root.Sys().EnableAuthWithOptions("cert", &api.EnableAuthOptions{Type: "cert"}); err != nil {
		t.Fatal(err)
	}
	_, err := root.Logical().Write("auth/cert/certs/strongroom-node", map[string]any{"certificate": string(w.ca.PEM), "allowed_dns_sans": "*.example.net",
		"token_policies": "strongroom-agent", "token_no_default_policy": true, "token_ttl": "1h", "token_max_ttl": "24h"})
	if err != nil {
		t.Fatal(err)
	}
}

// A node logs in with its own certificate, and the documented policy is enough for its whole life: to join and be promoted, to renew, to hand
// over the lead, to retire.
func TestLifeWithTheDocumentedPolicy(t *testing.T) {
	forEachProduct(t, func(t *testing.T, p product) {
		w := newWorld(t, p, true)
		first := w.add("first").start().answering()
		first.initialize()
		w.quickVoters(first)
		w.letNodesLogIn(t, first)
		var own [3]*Joiner
		own[0], _ = first.joiner(first.identity(), first.withCertificate)
		for i, id := range []string{"second", "third"} {
			m := w.add(id).start().answering()
			j, seen := m.joiner(m.identity(first), m.withCertificate)
			if err := j.Once(t.Context()); err != nil {
				t.Fatalf("%v\n%s", err, seen.names())
			}
			if !j.Status().Voter {
				t.Errorf("%+v", j.Status())
			}
			own[i+1] = j
		}
		w.tolerates(first, 1)

		if did, err := own[1].Leave(t.Context()); err != nil || !strings.Contains(did, "standby") {
			t.Errorf("a standby: %q, %v", did, err)
		}
		did, err := own[0].Leave(t.Context())
		if err != nil || !strings.HasPrefix(did, "stepped down; the active node is https://127.0.0.") {
			t.Fatalf("%q, %v", did, err)
		}
		if w.active() == first {
			t.Error("it still leads")
		}

		// The one that leads now is retired: it hands over first.
		w.tolerates(first, 1)
		var leader *member
		var j *Joiner
		for i, m := range w.members {
			if m == w.active() {
				leader, j = m, own[i]
			}
		}
		j.Session.renew = j.Session.renew.AddDate(-1, 0, 0)
		if err := j.token(t.Context()); err != nil {
			t.Errorf("it cannot be renewed: %v", err)
		}
		var steps []string
		if err := j.Retire(t.Context(), now(func(s string) { steps = append(steps, s) })); err != nil {
			t.Fatalf("%v after %q", err, steps)
		}
		if len(steps) != 3 || !strings.HasPrefix(steps[0], "stepped down") || !strings.HasPrefix(steps[1], "removed the peer") {
			t.Errorf("%q", steps)
		}
		if got := w.raft(w.active()); len(got) != 2 {
			t.Errorf("members %+v", got)
		}
		if _, err := os.Stat(filepath.Join(leader.dir, retiredMark)); err != nil {
			t.Error(err)
		}
		again, _ := leader.joiner(leader.identity(w.active()), leader.withCertificate)
		expectRefusal(t, again.Once(t.Context()), ByJoin, true, "was retired at")
		if err := again.Retire(t.Context(), now(func(string) {})); err != nil {
			t.Errorf("once more: %v", err)
		}
		// Without the mark the server itself says that it was removed, also after a restart.
		leader.kill()
		leader.start().answering()
		unmarked, seen := leader.joiner(leader.identity(w.active()), w.withRoot, func(o *Options) { o.StateDir, o.Limits.Listed = t.TempDir(), 10*time.Second })
		err = unmarked.Once(t.Context())
		if p.name == "vault" {
			expectRefusal(t, err, ByJoin, true, "was removed from its cluster")
		} else {
			// OpenBao does not say of itself that it was removed, and the leader says it to whom has a token.
			expectRefusal(t, err, ByJoin, true, "does not list this node")
			t.Log(seen.names())
		}
		if got := w.raft(w.active()); len(got) != 2 {
			t.Errorf("members %+v", got)
		}

		// Two are left, and neither can be spared.
		last := w.active()
		for i, m := range w.members {
			if m == last {
				expectRefusal(t, own[i].Retire(t.Context(), now(func(string) {})), ByQuorum, true, "the cluster ")
				if err := own[i].Retire(t.Context(), anyway(func(string) {})); err != nil {
					t.Errorf("insisting: %v", err)
				}
			}
		}
		if got := w.raft(w.active()); len(got) != 1 {
			t.Errorf("members %+v", got)
		}
	})
}

// A stranger's certificate opens nothing, and the join does without a token where it can.
func TestLoginRefused(t *testing.T) {
	forEachProduct(t, func(t *testing.T, p product) {
		w := newWorld(t, p, true)
		first := w.add("first").start().answering()
		first.initialize()
		second := w.add("second").start().answering()
		j, seen := second.joiner(second.identity(first), second.withCertificate) // nobody has enabled cert
		err := j.Once(t.Context())
		if p.nonVoters {
			expectRefusal(t, err, ByJoin, false, "never be promoted")
			return
		}
		if err != nil || !strings.HasSuffix(seen.names(), "listed ready") || j.Status().Voter {
			t.Errorf("%v: %s, %+v", err, seen.names(), j.Status())
		}
		if did, err := j.Leave(t.Context()); err != nil || did == "" {
			t.Errorf("%q, %v", did, err)
		}
		expectRefusal(t, j.Retire(t.Context(), now(func(string) {})), ByJoin, false, "needs a token")
	})
}

// A cluster that would lose its quorum keeps the node.
func TestQuorumIsKept(t *testing.T) {
	forEachProduct(t, func(t *testing.T, p product) {
		w := threeNodes(t, p)
		leader := w.active()
		var dead, other *member
		for _, m := range w.members {
			switch {
			case m == leader:
			case dead == nil:
				dead = m
			default:
				other = m
			}
		}
		dead.kill()
		w.tolerates(leader, 0)
		j, _ := other.joiner(other.identity(leader), w.withRoot)
		expectRefusal(t, j.Retire(t.Context(), now(func(string) {})), ByQuorum, true, "would lose its quorum: of the 2 voters that stay")
		if got := w.raft(leader); len(got) != 3 {
			t.Errorf("members %+v", got)
		}
		if _, err := os.Stat(filepath.Join(other.dir, retiredMark)); err == nil {
			t.Error("it is marked all the same")
		}
		// The dead one comes back under its id.
		dead.start().answering()
		back, seen := dead.joiner(dead.identity(leader), w.withRoot)
		if err := back.Once(t.Context()); err != nil {
			t.Errorf("%v: %s", err, seen.names())
		}
		if got := w.raft(w.active()); len(got) != 3 {
			t.Errorf("members %+v", got)
		}
	})
}

func TestCanLose(t *testing.T) {
	voters := func(ids ...string) []Member {
		var out []Member
		for _, id := range ids {
			out = append(out, Member{ID: id, Voter: true})
		}
		return out
	}
	all := map[string]bool{"a": true, "b": true, "c": true, "d": true, "e": true}
	for name, c := range map[string]struct {
		members   []Member
		healthy   map[string]bool
		tolerance int
		part      string
	}{
		"three of three":        {voters("a", "b", "c"), all, 1, ""},
		"two of three":          {voters("a", "b", "c"), map[string]bool{"a": true, "b": true}, 0, "lose its quorum"},
		"the sick one of three": {voters("a", "b", "c"), map[string]bool{"b": true, "c": true}, 0, "can lose no voter"},
		"one of two":            {voters("a", "b"), all, 0, "can lose no voter"},
		"one of two, and autopilot has not noticed that the third went": {voters("a", "b"), all, 1, "can lose no voter"},
		"the last":       {voters("a"), all, 0, "only voter"},
		"a non-voter":    {append(voters("b"), Member{ID: "a"}), all, 0, ""},
		"five":           {voters("a", "b", "c", "d", "e"), map[string]bool{"a": true, "b": true, "c": true, "d": true}, 1, ""},
		"five, two dead": {voters("a", "b", "c", "d", "e"), map[string]bool{"a": true, "b": true, "c": true}, 0, "lose its quorum"},
	} {
		t.Run(name, func(t *testing.T) {
			r := canLose("a", c.members, c.healthy, c.tolerance)
			if c.part == "" && r != nil || c.part != "" && (r == nil || !strings.Contains(r.Reason, c.part)) {
				t.Errorf("got %v, want %q", r, c.part)
			}
		})
	}
}
