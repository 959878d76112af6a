package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/node/nodetest"
)

// proxy stands before a member and alters what it says.
func proxy(t *testing.T, m *member, alter func(path string, body []byte) []byte) (address string) {
	t.Helper()
	target, err := url.Parse(m.url())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(m.w.ca.PEM)
	p := httputil.NewSingleHostReverseProxy(target)
	p.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: m.ServerName}}
	p.ModifyResponse = func(r *http.Response) error {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		b = alter(r.Request.URL.Path, b)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
		r.Header.Set("Content-Length", fmt.Sprint(len(b)))
		return nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: p, TLSConfig: &tls.Config{Certificates: []tls.Certificate{m.certificate}}}
	go func() { _ = server.ServeTLS(l, "", "") }()
	t.Cleanup(func() { _ = server.Close() })
	return "https://" + l.Addr().String()
}

func setField(name string, value any) func(string, []byte) []byte {
	return func(_ string, b []byte) []byte {
		var all map[string]any
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		if d.Decode(&all) != nil {
			return b
		}
		if _, there := all[name]; !there {
			return b
		}
		all[name] = value
		out, err := json.Marshal(all)
		if err != nil {
			return b
		}
		return out
	}
}

// What is wrong with the way to the leader is found before the server is told anything, and named.
func TestProofBeforeJoin(t *testing.T) {
	forEachProduct(t, func(t *testing.T, p product) {
		w := newWorld(t, p, true)
		first := w.add("first").start().answering()
		first.initialize()
		second := w.add("second").start().answering()
		closed := fmt.Sprintf("https://127.0.0.1:%d", nodetest.FreePort(t, "127.0.0.1"))
		stranger := nodetest.NewCA(t, season())
		leaderAt := func(address, name string) node.Identity {
			id := second.identity()
			id.Join.Leaders = []node.Leader{{Address: address, ServerName: name}}
			return id
		}
		anHour := func(d time.Duration) func(string, []byte) []byte {
			return func(path string, b []byte) []byte {
				return setField("server_time_utc", time.Now().Add(d).Unix())(path, b)
			}
		}
		quiet := func(o *Options) { o.Limits.Leader = 4 * time.Second }
		for name, c := range map[string]struct {
			id    node.Identity
			final bool
			part  string
		}{
			"wrong SAN":          {leaderAt(first.url(), "vault.other.net"), true, "not good for vault.other.net; it has first.example.net"},
			"unreachable":        {leaderAt(closed, ""), false, "refuses the connection"},
			"no such name":       {leaderAt("https://nobody.invalid:8200", ""), false, "cannot be looked up"},
			"plain HTTP":         {leaderAt("http://127.0.0.2:8200", ""), true, "is no https address"},
			"clock an hour fast": {leaderAt(proxy(t, first, anHour(time.Hour)), first.ServerName), false, "ahead of this node's"},
			"clock an hour slow": {leaderAt(proxy(t, first, anHour(-time.Hour)), first.ServerName), false, "behind this node's"},
			"other seal":         {leaderAt(proxy(t, first, setField("type", "awskms")), first.ServerName), true, "has seal awskms, this node has transit"},
			"newer release":      {leaderAt(proxy(t, first, setField("version", "99.1.0")), first.ServerName), true, "which is older"},
			"other cluster":      {leaderAt(proxy(t, first, setField("cluster_name", "another")), first.ServerName), true, `belongs to cluster "another"`},
			"removed":            {leaderAt(proxy(t, first, setField("initialized", false)), first.ServerName), false, "there is no cluster yet"},
			"sealed":             {leaderAt(proxy(t, first, setField("sealed", true)), first.ServerName), false, "is sealed"},
			"no active node": {leaderAt(proxy(t, first, func(path string, b []byte) []byte {
				return setField("is_self", false)(path, setField("leader_address", "")(path, b))
			}), first.ServerName), false, "knows no active node"},
			"dead active node": {leaderAt(proxy(t, first, func(path string, b []byte) []byte {
				return setField("is_self", false)(path, setField("leader_address", closed)(path, b))
			}), first.ServerName), false, "refuses the connection"},
			"Raft port closed": {leaderAt(proxy(t, first, setField("leader_cluster_address", closed)), first.ServerName), false, "its Raft port refuses"},
			"not Vault":        {leaderAt(proxy(t, first, func(string, []byte) []byte { return []byte("<html>") }), first.ServerName), false, "does not answer as a server does"},
			"nowhere":          {second.identity(), false, "no member of the cluster was found"},
		} {
			t.Run(name, func(t *testing.T) {
				j, _ := second.joiner(c.id, quiet)
				expectRefusal(t, j.Once(t.Context()), ByJoin, c.final, c.part)
			})
		}
		t.Run("wrong CA", func(t *testing.T) {
			id := leaderAt(first.url(), first.ServerName)
			id.Join.Leaders[0].CA = string(stranger.PEM)
			j, _ := second.joiner(id, quiet)
			expectRefusal(t, j.Once(t.Context()), ByJoin, true, "authority that this cluster does not know")
		})
		t.Run("a member that cannot be believed, beside an empty one", func(t *testing.T) {
			id := leaderAt(first.url(), "vault.other.net")
			id.Join.Leaders = append(id.Join.Leaders, second.identity(second).Join.Leaders...)
			j, _ := second.joiner(id, quiet)
			expectRefusal(t, j.Once(t.Context()), ByJoin, false, "not good for vault.other.net")
			// Not that somebody should initialize another cluster.
			if s := j.Status(); s.State != Failed || strings.Contains(s.Reason, "no cluster yet") {
				t.Errorf("%+v", s)
			}
		})
		t.Run("the gate", func(t *testing.T) {
			j, _ := second.joiner(second.identity(first), func(o *Options) {
				o.JudgeBoot = func(context.Context) error { return errors.New("the gate is closed") }
			})
			expectRefusal(t, j.Once(t.Context()), ByGate, false, "the gate is closed")
		})
		t.Run("stage run", func(t *testing.T) {
			j, seen := second.joiner(second.identity(first), func(o *Options) {
				o.Limits.Listed = time.Second
				o.JudgeRun = func(context.Context) error { return errors.New("stage run: fail (memory-swap-off)") }
			})
			expectRefusal(t, j.Once(t.Context()), ByGate, false, "memory-swap-off")
			if strings.Contains(seen.names(), "join") {
				t.Errorf("states %s", seen.names())
			}
		})
		t.Run("an id that is known already", func(t *testing.T) {
			id := second.identity(first)
			id.NodeID = first.id
			j, _ := second.joiner(id, w.withRoot)
			expectRefusal(t, j.Once(t.Context()), ByJoin, true, "a member with this node's id (first) at another address")
		})
		t.Run("an address that is known already", func(t *testing.T) {
			id := second.identity(first)
			id.ClusterAddr = first.identity().ClusterAddr
			j, _ := second.joiner(id, w.withRoot)
			expectRefusal(t, j.Once(t.Context()), ByJoin, true, "another member (first) at this node's address")
		})
		t.Run("retired", func(t *testing.T) {
			j, _ := second.joiner(second.identity(first), func(o *Options) { o.StateDir = t.TempDir() })
			if err := j.marks.write(retiredMark, mark{NodeID: "second", At: time.Now(), Why: "a test"}); err != nil {
				t.Fatal(err)
			}
			expectRefusal(t, j.Once(t.Context()), ByJoin, true, "was retired")
		})
		t.Run("data lost", func(t *testing.T) {
			j, _ := second.joiner(second.identity(first), func(o *Options) { o.StateDir = t.TempDir() })
			if err := j.marks.write(memberMark, mark{NodeID: "second", At: time.Now()}); err != nil {
				t.Fatal(err)
			}
			expectRefusal(t, j.Once(t.Context()), ByJoin, true, "its server has no data")
		})
		t.Run("a mark that says nothing", func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, retiredMark), []byte("?"), 0o600); err != nil {
				t.Fatal(err)
			}
			j, _ := second.joiner(second.identity(first), func(o *Options) { o.StateDir = dir })
			expectRefusal(t, j.Once(t.Context()), ByJoin, true, "cannot tell whether")
		})
		if got := w.raft(first); len(got) != 1 {
			t.Errorf("somebody joined: %+v", got)
		}
	})
}

// No cluster yet: the node waits, says so, and never initializes. When somebody has, it joins.
func TestWaitsForTheFirst(t *testing.T) {
	forEachProduct(t, func(t *testing.T, p product) {
		w := newWorld(t, p, true)
		first := w.add("first").start().answering()
		second := w.add("second").start().answering()
		j, seen := second.joiner(second.identity(first), func(o *Options) { o.Limits.Leader = time.Minute })
		done := make(chan error, 1)
		go func() { done <- j.Once(t.Context()) }()
		nodetest.Eventually(t, "it says so", 10*time.Second, func() error {
			if s := j.Status(); s.State != NoneYet || !strings.Contains(s.Reason, "there is no cluster yet") || s.Hint == "" {
				return fmt.Errorf("%+v", s)
			}
			return nil
		})
		for _, m := range w.members {
			if s, err := look(t.Context(), m.asked()); err != nil || s.initialized {
				t.Errorf("%s: %+v, %v", m.id, s, err)
			}
		}
		first.initialize()
		if err := <-done; err != nil {
			t.Fatalf("%v: %s", err, seen.names())
		}
		if got := w.raft(first); len(got) != 2 {
			t.Errorf("members %+v", got)
		}
	})
}

// With Shamir's seal a join is only in the server's memory until its key holders come: a restart before that loses it, and the next look joins again.
func TestKeyHoldersComeLate(t *testing.T) {
	forEachProduct(t, func(t *testing.T, p product) {
		w := newWorld(t, p, false)
		first := w.add("first").start().answering()
		first.initialize()
		w.quickVoters(first)
		second := w.add("second").start().answering()
		j, seen := second.joiner(second.identity(first), w.withRoot, func(o *Options) { o.Limits.Unseal = time.Minute })
		done := make(chan error, 1)
		go func() { done <- j.Once(t.Context()) }()
		waits := func() {
			t.Helper()
			nodetest.Eventually(t, "it waits for key holders", waitLong, func() error {
				if s := j.Status(); s.State != Unseal || !strings.Contains(s.Reason, "key holders") {
					return fmt.Errorf("%+v", s)
				}
				return nil
			})
		}
		waits()
		second.kill()
		nodetest.Eventually(t, "it notices", waitLong, func() error {
			if s := j.Status(); !strings.Contains(s.Reason, "does not answer any more") {
				return fmt.Errorf("%+v", s)
			}
			return nil
		})
		second.start().answering()
		waits()
		second.unseal()
		if err := <-done; err != nil {
			t.Fatalf("%v: %s", err, seen.names())
		}
		if got := w.raft(first); len(got) != 2 || !got["second"].Voter {
			t.Errorf("members %+v", got)
		}
		t.Log(seen.names())
	})
}
