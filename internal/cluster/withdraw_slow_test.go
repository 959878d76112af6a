//go:build slow

package cluster

import (
	"context"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/node/nodetest"
)

// Two nodes have drifted at once, under a writer, and one of them leads: one server is stopped, and the other runs on until there are three again.
func TestTwoWithdrawAtOnce(t *testing.T) {
	forEachProduct(t, func(t *testing.T, p product) {
		w, joiners := threeWhoLogIn(t, p)
		writing := w.writes()
		type result struct {
			m   *member
			err error
		}
		results := make(chan result, 2)
		for _, m := range []*member{w.active(), w.standbys()[0]} {
			go func() {
				err := joiners[m].Withdraw(t.Context(), func(string) {}, func(context.Context) error {
					m.kill()
					return nil
				})
				results <- result{m, err}
			}()
		}
		first, second := <-results, <-results
		if first.err != nil {
			first, second = second, first
		}
		if first.err != nil || second.err == nil {
			t.Fatalf("%s: %v; %s: %v; want one that goes", first.m.id, first.err, second.m.id, second.err)
		}
		t.Logf("%s went; %s: %v", first.m.id, second.m.id, second.err)
		// When the lock has ended the cluster itself says no.
		for end := time.Now().Add(2 * joiners[second.m].Limits.Turn); time.Now().Before(end); time.Sleep(joiners[second.m].Limits.Turn / 4) {
			if err := joiners[second.m].Withdraw(t.Context(), func(string) {}, func(context.Context) error { second.m.kill(); return nil }); err == nil {
				t.Fatal("the second was stopped too")
			}
		}
		first.m.start().answering()
		w.tolerates(w.active(), 1)
		nodetest.Eventually(t, "the second can be stopped when there are three again", 3*waitLong, func() error {
			return joiners[second.m].Withdraw(t.Context(), func(string) {}, func(context.Context) error { second.m.kill(); return nil })
		})
		writing.holds(w, 2)
	})
}

// The only voter runs on.
func TestTheOnlyVoterIsNotStopped(t *testing.T) {
	forEachProduct(t, func(t *testing.T, p product) {
		w := newWorld(t, p, true)
		first := w.add("first").start().answering()
		first.initialize()
		w.quickVoters(first)
		w.letNodesLogIn(t, first)
		j, _ := first.joiner(first.identity(), first.withCertificate)
		nodetest.Eventually(t, "it is refused for the quorum", waitLong, func() error {
			err := j.Withdraw(t.Context(), func(string) {}, func(context.Context) error { t.Error("it was stopped"); return nil })
			expectRefusal(t, err, ByQuorum, true, "this node is the only voter")
			return nil
		})
	})
}
