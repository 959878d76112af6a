package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/internal/node/nodetest"
)

// slowCable leads the Raft traffic for a member as slowly as a slow machine digests it. Its address is the member's cluster_addr.
func slowCable(t *testing.T, m *member) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", m.ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	carry := func(from net.Conn) {
		defer from.Close()
		to, err := net.Dial("tcp", net.JoinHostPort(m.ip, strconv.Itoa(m.cluster)))
		if err != nil {
			return
		}
		defer to.Close()
		go func() { _, _ = io.Copy(from, to); from.Close() }()
		// The server looks once a second whether it is a member: once in the configuration that it joins with, then in those before its time.
		time.Sleep(1500 * time.Millisecond)
		const chunk, perSecond = 2 << 10, 32 << 10
		for {
			if _, err := io.CopyN(to, from, chunk); err != nil {
				return
			}
			time.Sleep(time.Second * chunk / perSecond)
		}
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go carry(conn)
		}
	}()
	address = "https://" + l.Addr().String()
	m.change = func(config string) string {
		return strings.Replace(config, fmt.Sprintf("cluster_addr = \"https://%s:%d\"", m.ip, m.cluster), fmt.Sprintf("cluster_addr = %q", address), 1)
	}
	return address
}

// A server that is slow to replay the log that it joined with takes itself for removed (hashicorp/vault#32099), seals itself, and serves all the
// same when it is unsealed: by itself, or when it is started again. The node is a member, with its own token and without one, and others can join through it. When it is removed,
// it knows. Whether its seal has unsealed it before depends on what it misses itself in: the earlier in the log, the sooner it is down.
func TestSlowReplay(t *testing.T) {
	forEachProduct(t, func(t *testing.T, p product) {
		for name, before := range map[string]int{"sealed yet": 0, "unsealed": 300} {
			t.Run(name, func(t *testing.T) { t.Parallel(); slowReplayOf(t, p, before) })
		}
	})
}

// slowReplayOf has the second member join after so many of 400 writes.
func slowReplayOf(t *testing.T, p product, before int) {
	w := newWorld(t, p, true)
	first := w.add("first").start().answering()
	first.initialize()
	w.quickVoters(first)
	if err := first.root().Sys().Mount("kv", &api.MountInput{Type: "kv"}); err != nil {
		t.Fatal(err)
	}
	write := func(from, to int) {
		for i := from; i < to; i++ {
			if _, err := first.root().Logical().Write(fmt.Sprintf("kv/%d", i), map[string]any{"v": strings.Repeat("x", 1000)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(0, before)
	second := w.add("second").start().answering()
	j, seen := second.joiner(second.identity(first), w.withRoot)
	if err := j.Once(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, seen.names())
	}
	write(before, 400)

	slow := w.add("slow")
	id := slow.identity(first)
	id.ClusterAddr = slowCable(t, slow)
	unit := underSystemd(t, slow)
	slow.answering()
	restart := func(o *Options) { o.Restart = func(context.Context) error { unit.kill(); return nil } }
	j, seen = slow.joiner(id, w.withRoot, restart)
	if err := j.Once(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, seen.names())
	}
	if p.name == "vault" {
		nodetest.Eventually(t, "it takes itself for removed", waitLong, func() error {
			own, err := look(t.Context(), slow.asked())
			if err == nil && !own.marked {
				err = fmt.Errorf("%+v", own)
			}
			return err
		})
		// The agent looks at a member, sees that it is none, and begins again.
		if err := j.Once(t.Context()); err != nil {
			t.Fatalf("%v\n%s", err, seen.names())
		}
		if n := unit.starts.Load(); n > 2 || before > 0 && n != 2 {
			t.Errorf("it was started %d times", n)
		}
		if own, err := look(t.Context(), slow.asked()); err != nil || !own.marked || own.removed {
			t.Fatalf("%+v, %v", own, err)
		}
	}
	if _, err := slow.root().Logical().Write("kv/through", map[string]any{"v": "the member that takes itself for removed"}); err != nil {
		t.Error(err)
	}
	if got := w.raft(w.active()); !got["slow"].Voter {
		t.Errorf("members %+v", got)
	}

	// Its word is the same after a restart. Without a token too the node is a member, and so is who knows only this one.
	unit.kill()
	slow.answering()
	nodetest.Eventually(t, "it hears from the active node", waitLong, func() error {
		own, err := look(t.Context(), slow.asked())
		if err == nil && (own.removed || own.sealed || own.leader == "") {
			err = fmt.Errorf("%+v", own)
		}
		return err
	})
	j, seen = slow.joiner(id)
	if err := j.Once(t.Context()); err != nil || seen.names() != "gate api local listed ready" {
		t.Errorf("%v: %s", err, seen.names())
	}
	fourth := w.add("fourth").start().answering()
	k, seen := fourth.joiner(fourth.identity(slow), w.withRoot)
	if err := k.Once(t.Context()); err != nil {
		t.Errorf("%v: %s", err, seen.names())
	}

	// It is removed from elsewhere, and knows it before and after its server has been started anew.
	if _, err := w.active().root().Logical().Write("sys/storage/raft/remove-peer", map[string]any{"server_id": "slow"}); err != nil {
		t.Fatal(err)
	}
	removed := func() error {
		j, _ := slow.joiner(id, w.withRoot, func(o *Options) { o.StateDir, o.Limits.Listed = t.TempDir(), 2*time.Second })
		var r *Refusal
		if err := j.Once(t.Context()); !errors.As(err, &r) || !r.Final {
			return fmt.Errorf("%w, %s", err, j.Status().State)
		}
		return nil
	}
	nodetest.Eventually(t, "it knows that it was removed", waitLong, removed)
	unit.kill()
	nodetest.Eventually(t, "it is unsealed", waitLong, func() error {
		own, err := look(t.Context(), slow.asked())
		if err == nil && own.sealed {
			err = errors.New("sealed")
		}
		return err
	})
	nodetest.Eventually(t, "it still knows", waitLong, removed)
}
