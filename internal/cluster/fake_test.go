package cluster

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/node/nodetest"
)

// fake is a server that answers what a test wants, path by path.
type fake struct {
	mu      sync.Mutex
	answers map[string]any // path below /v1/ → body; an int is a status, a string a refusal
	asked   []string
	tokens  map[string]string // path → the token that came last
	after   map[string]func() // path → what it changes
	url     string
}

// refusal is one in a row of answers.
type refusal string

func newFake(t *testing.T, ca *nodetest.CA, answers map[string]any) *fake {
	t.Helper()
	cert, key := ca.Issue(nodetest.Today(), "fake.example.net", "127.0.0.1")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{answers: answers, tokens: map[string]string{}, after: map[string]func(){}}
	server := httptest.NewUnstartedServer(f)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	f.asked = append(f.asked, path)
	f.tokens[path] = r.Header.Get("X-Vault-Token")
	if change := f.after[path]; change != nil {
		defer change()
	}
	refuse := func(said string) {
		w.WriteHeader(http.StatusInternalServerError)
		_ = json.NewEncoder(w).Encode(map[string]any{"errors": []string{said}})
	}
	switch a := f.answers[path].(type) {
	case nil:
		http.NotFound(w, r)
	case int:
		w.WriteHeader(a)
	case string:
		refuse(a)
	case refusal:
		refuse(string(a))
	case []any: // one after the other, the last for ever
		if len(a) > 1 {
			f.answers[path] = a[1:]
		}
		switch first := a[0].(type) {
		case int:
			w.WriteHeader(first)
			return
		case refusal:
			refuse(string(first))
			return
		}
		_ = json.NewEncoder(w).Encode(a[0])
	default:
		_ = json.NewEncoder(w).Encode(a)
	}
}

func (f *fake) count(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, p := range f.asked {
		if p == path {
			n++
		}
	}
	return n
}

type object = map[string]any

func fakeHealth(initialized, sealed bool) object {
	return object{"initialized": initialized, "sealed": sealed, "version": "1.21.1", "server_time_utc": time.Now().Unix()}
}

// pair is a local server that has not joined, and a leader.
func pair(t *testing.T) (own, leader *fake, id node.Identity) {
	ca := nodetest.NewCA(t, nodetest.Today())
	own = newFake(t, ca, object{"sys/health": fakeHealth(false, true), "sys/seal-status": object{"type": "transit"}})
	raft, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raft.Close() })
	leader = newFake(t, ca, object{"sys/health": fakeHealth(true, false), "sys/seal-status": object{"type": "transit"},
		"sys/leader": object{"is_self": true, "leader_cluster_address": "https://" + raft.Addr().String()}})
	id = node.Identity{NodeID: "node-1", CA: string(ca.PEM), APIAddr: own.url, ClusterAddr: "https://10.0.0.1:8201", Join: node.Join{Leaders: []node.Leader{{Address: leader.url}}}}
	return own, leader, id
}

func joinerOf(t *testing.T, own *fake, id node.Identity, change ...func(*Options)) *Joiner {
	m := &member{w: &world{t: t, product: product{name: "vault"}}, dir: t.TempDir(), ServerName: "127.0.0.1"}
	j, _ := m.joiner(id, append([]func(*Options){func(o *Options) {
		o.Local = own.url
		o.Limits = Limits{API: time.Second, Leader: time.Second, Unseal: time.Second, Listed: time.Second, Turn: time.Minute, Pace: 2 * time.Millisecond}
	}}, change...)...)
	return j
}

// The server's own refusals are put into words, and those that stay are not tried five times.
func TestServerRefusesToJoin(t *testing.T) {
	for said, want := range map[string]struct {
		final bool
		part  string
		tries int
	}{
		"failed to join raft cluster: error bootstrapping cluster: cluster already has state":                                         {true, "a Raft log, and no data", 1},
		"this node has been removed from the HA cluster. All vault data for this node must be cleaned up before it can be added back": {true, "was removed from its cluster", 1},
		"incompatible seal types between raft leader (awskms) and follower (transit)":                                                 {true, "the leader has another seal", 1},
		"failed to send answer to raft leader node: error decrypting challenge: cipher: message authentication failed":                {false, "cannot read what the cluster's seal wrote", joinTries},
		"Preventing server addition that would require removal of too many servers and cause cluster instability":                     {true, "would cost its quorum", 1},
		"failed to join raft cluster: failed to get raft challenge":                                                                   {false, "failed to get raft challenge", joinTries},
	} {
		t.Run(want.part, func(t *testing.T) {
			own, _, id := pair(t)
			own.answers["sys/storage/raft/join"] = said
			err := joinerOf(t, own, id).Once(t.Context())
			r := asRefusal(err)
			if err == nil || r.Final != want.final || !strings.Contains(r.Reason, want.part) {
				t.Errorf("got %v, final %t", err, r.Final)
			}
			if n := own.count("sys/storage/raft/join"); n != want.tries {
				t.Errorf("tried %d times, want %d", n, want.tries)
			}
		})
	}
}

// What the local server says of itself decides what comes next, and nothing else does.
func TestLocalServerDecides(t *testing.T) {
	removed := fakeHealth(true, false)
	removed["removed_from_cluster"] = true
	marked := fakeHealth(true, false)
	marked["removed_from_cluster"], marked["ha_connection_healthy"] = true, true
	lost := fakeHealth(true, false)
	lost["removed_from_cluster"], lost["ha_connection_healthy"] = true, false
	cut := fakeHealth(true, false)
	cut["ha_connection_healthy"] = false
	for name, c := range map[string]struct {
		health, leader any
		final          bool
		part           string
	}{
		"removed":             {removed, object{}, true, "was removed"},
		"removed and active":  {removed, object{"is_self": true}, false, ""},
		"removed and heard":   {marked, object{"leader_address": "https://other:8200"}, false, ""},
		"removed and cut off": {lost, object{"leader_address": "https://other:8200"}, true, "was removed"},
		"removed, no leader":  {lost, object{}, true, "was removed"},
		"sealed":              {fakeHealth(true, true), nil, false, "the server is sealed (transit)"},
		"no active node":      {fakeHealth(true, false), object{}, false, "knows no active node"},
		"cut off":             {cut, object{"leader_address": "https://other:8200"}, false, "does not hear from the active node"},
		"down":                {http.StatusBadGateway, nil, false, "does not answer at"},
		"a member":            {fakeHealth(true, false), object{"leader_address": "https://other:8200"}, false, ""},
		"a member that leads": {fakeHealth(true, false), object{"is_self": true}, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			own, _, id := pair(t)
			own.answers["sys/health"], own.answers["sys/leader"] = c.health, c.leader
			err := joinerOf(t, own, id).Once(t.Context())
			switch {
			case c.part == "" && err != nil:
				t.Error(err)
			case c.part != "" && (err == nil || !strings.Contains(err.Error(), c.part) || asRefusal(err).Final != c.final):
				t.Errorf("got %v, want %q", err, c.part)
			}
			if own.count("sys/storage/raft/join") > 0 || own.count("sys/init") > 0 {
				t.Errorf("asked %q", own.asked)
			}
		})
	}
}

// A server that says that it was removed may be wrong: the leader's list tells, where there is a token. Who is listed waits until its server serves.
func TestRemovedAndListed(t *testing.T) {
	gone := fakeHealth(true, false)
	gone["removed_from_cluster"] = true
	shut := fakeHealth(true, true)
	shut["removed_from_cluster"] = true
	serving := fakeHealth(true, false)
	serving["removed_from_cluster"], serving["ha_connection_healthy"] = true, true
	listing := func(id string) object {
		return object{"data": object{"config": object{"servers": []object{{"node_id": id, "address": "10.0.0.1:8201", "voter": true}}}}}
	}
	withToken := func(o *Options) { o.Session = NewSession(node.NewSecret([]byte("hvs.agent")), nil, nil) }
	const refused = "this node was removed from its cluster"
	var own *fake
	again := func(o *Options) {
		o.Restart = func(context.Context) error {
			own.mu.Lock()
			defer own.mu.Unlock()
			own.answers["sys/health"] = []any{http.StatusBadGateway, shut, gone, serving}
			return nil
		}
	}
	restarts := 0
	inVain := func(o *Options) { o.Restart = func(context.Context) error { restarts++; return nil } }
	for name, c := range map[string]struct {
		listed any
		change []func(*Options)
		health []any
		part   string // empty: it is a member
		final  bool
	}{
		"listed, serves again":      {listing("node-1"), []func(*Options){withToken}, []any{shut, gone, serving}, "", false},
		"listed, serves later":      {listing("node-1"), []func(*Options){withToken}, []any{fakeHealth(true, true), shut, shut, gone, serving}, "", false},
		"listed, stays sealed":      {listing("node-1"), []func(*Options){withToken}, []any{shut}, "is unsealed (transit) at its start only", false},
		"listed, hears of nobody":   {listing("node-1"), []func(*Options){withToken}, []any{gone}, "does not hear from the active node", false},
		"listed, started again":     {listing("node-1"), []func(*Options){withToken, again}, []any{shut}, "", false},
		"no token, started again":   {nil, []func(*Options){again}, []any{shut}, "", false},
		"no token, and in vain":     {nil, []func(*Options){inVain}, []any{shut}, "is unsealed (transit) at its start only", false},
		"not listed":                {listing("node-2"), []func(*Options){withToken}, []any{gone}, refused, true},
		"not listed, found later":   {listing("node-2"), []func(*Options){withToken, again}, []any{fakeHealth(true, true), shut}, refused, true},
		"may not ask":               {http.StatusForbidden, []func(*Options){withToken}, []any{gone}, refused, true},
		"listed, and has no tokens": {listing("node-1"), nil, []any{shut, serving}, refused, true},
	} {
		t.Run(name, func(t *testing.T) {
			local, leader, id := pair(t)
			own, restarts = local, 0
			own.answers["sys/health"] = c.health
			own.answers["sys/leader"] = object{"leader_address": leader.url}
			for _, f := range []*fake{own, leader} {
				f.answers["sys/storage/raft/configuration"] = c.listed
				f.answers["auth/token/renew-self"] = object{"auth": object{"lease_duration": 3600}}
			}
			err := joinerOf(t, own, id, c.change...).Once(t.Context())
			if c.part == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.part) || asRefusal(err).Final != c.final {
				t.Errorf("got %v, want %q", err, c.part)
			}
			if restarts > 1 {
				t.Errorf("started again %d times", restarts)
			}
		})
	}
}

// Where all members go by the address of their load balancer, the request goes to a standby, which hands it on.
func TestJoinThroughAStandby(t *testing.T) {
	own, standby, id := pair(t)
	id.APIAddr = "https://vault.example.net:8200"
	standby.answers["sys/leader"] = object{"leader_address": id.APIAddr, "leader_cluster_address": "https://10.0.0.9:8201"}
	own.answers["sys/storage/raft/join"] = object{"joined": true}
	own.answers["sys/health"] = []any{fakeHealth(false, true), fakeHealth(true, false)}
	own.answers["sys/leader"] = object{"leader_address": id.APIAddr}
	j := joinerOf(t, own, id)
	if err := j.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if own.count("sys/storage/raft/join") != 1 {
		t.Errorf("asked %q", own.asked)
	}
}

// A token is shown to a leader that has proven itself, and to nobody else.
func TestTokenGoesToTheProvenOnly(t *testing.T) {
	own, leader, id := pair(t)
	leader.answers["sys/seal-status"] = object{"type": "awskms"}
	j := joinerOf(t, own, id, func(o *Options) { o.Session = NewSession(node.NewSecret([]byte("hvs.agent")), nil, nil) })
	if err := j.Once(t.Context()); err == nil {
		t.Fatal("it joined")
	}
	for _, f := range []*fake{own, leader} {
		for path, token := range f.tokens {
			if token != "" {
				t.Errorf("%s was asked with the token", path)
			}
		}
	}
}

// A session logs in once, renews, and logs in again when its token has ended before its time.
func TestSession(t *testing.T) {
	ca := nodetest.NewCA(t, nodetest.Today())
	auth := func(token string) object {
		return object{"auth": object{"client_token": token, "lease_duration": 3600, "renewable": true}}
	}
	f := newFake(t, ca, object{"auth/cert/login": []any{auth("hvs.first"), auth("hvs.second")}, "auth/token/renew-self": []any{auth("hvs.first"), http.StatusForbidden}})
	m := &member{w: &world{t: t, ca: ca}, ServerName: "127.0.0.1"}
	c := newClient(f.url, m.trust())
	s := NewSession(node.NewSecret([]byte("hvs.given")), func() *node.Auth { return &node.Auth{Method: "cert", Mount: "cert/", Role: "strongroom-node"} }, nil)
	keep := func(want string) {
		t.Helper()
		if err := s.Keep(t.Context(), c); err != nil || string(s.Reveal()) != want {
			t.Errorf("%q, %v; want %q", s.Reveal(), err, want)
		}
	}
	if s.HasToken() || !s.Possible() {
		t.Error("it has a token before it logs in")
	}
	keep("hvs.first")
	keep("hvs.first")
	if n := f.count("auth/cert/login") + f.count("auth/token/renew-self"); n != 1 {
		t.Errorf("asked %d times", n)
	}
	s.renew = time.Now()
	keep("hvs.first")
	s.renew = time.Now()
	keep("hvs.second") // the renewal was refused
	s.ends = time.Now().Add(-time.Second)
	f.answers["auth/cert/login"] = "permission denied"
	if err := s.Keep(t.Context(), c); err == nil || !strings.Contains(err.Error(), "cannot log in by certificate at auth/cert as strongroom-node: permission denied") {
		t.Errorf("got %v", err)
	}
	before := f.count("auth/cert/login")
	for range 5 {
		_ = s.Keep(t.Context(), c)
	}
	if f.count("auth/cert/login") != before {
		t.Error("a login that failed is repeated at once")
	}
	if text := fmt.Sprintf("%v %+v", s, s.given); strings.Contains(text, "hvs.") {
		t.Errorf("a token is printed: %s", text)
	}
	var none *Session
	if none.Possible() || none.HasToken() || none.Keep(context.Background(), c) == nil {
		t.Error("no session has a token")
	}
}

// The agent's loop: a refusal is reported and tried again when it is woken; without a join block nothing is asked.
func TestRunAndWake(t *testing.T) {
	own, _, id := pair(t)
	own.answers["sys/health"] = func() object { h := fakeHealth(true, false); h["removed_from_cluster"] = true; return h }()
	own.answers["sys/leader"] = object{"leader_address": "https://other:8200"}
	j := joinerOf(t, own, id)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { j.Run(ctx); close(done) }()
	nodetest.Eventually(t, "it is refused", 5*time.Second, func() error {
		if s := j.Status(); s.State != Refused {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	own.mu.Lock()
	own.answers["sys/health"] = fakeHealth(true, false)
	own.mu.Unlock()
	j.Wake()
	nodetest.Eventually(t, "it is a member", 5*time.Second, func() error {
		if s := j.Status(); s.State != Ready || s.Reason != "" {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	cancel()
	<-done

	id.Join = node.Join{}
	alone := joinerOf(t, own, id)
	asked := len(own.asked)
	alone.Run(t.Context())
	if alone.Status().State != Off || len(own.asked) != asked {
		t.Errorf("%+v", alone.Status())
	}
}

// A pass that ends where the last one ended is no news: the reason stays what is shown, and is not mixed with the states on the way.
func TestRepeatedFailureIsNoNews(t *testing.T) {
	own, leader, id := pair(t)
	leader.answers["sys/seal-status"] = object{"type": "awskms"}
	var told []State
	j := joinerOf(t, own, id, func(o *Options) { o.Report = func(s Status) { told = append(told, s.State) } })
	for range 3 {
		if err := j.Once(t.Context()); err == nil {
			t.Fatal("it joined")
		}
	}
	if got := told[len(told)-1]; got != Refused || len(told) > 10 {
		t.Errorf("%d reports: %q", len(told), told)
	}
	n := len(told)
	_ = j.Once(t.Context())
	if len(told) != n {
		t.Errorf("news: %q", told[n:])
	}
	// It comes further, and ends elsewhere.
	leader.answers["sys/seal-status"] = object{"type": "transit"}
	own.answers["sys/storage/raft/join"] = "cluster already has state"
	_ = j.Once(t.Context())
	// The leader is news too.
	if got := fmt.Sprint(slices.Compact(told[n:])); got != "[refused judge join refused]" {
		t.Errorf("news: %s", got)
	}
}

// A standby that cannot hand the request on yet is asked again.
func TestRetireAfterAnElection(t *testing.T) {
	own, _, id := pair(t)
	gone := fakeHealth(true, false)
	gone["removed_from_cluster"] = true
	own.answers["sys/health"] = fakeHealth(true, false)
	own.answers["sys/leader"] = object{"leader_address": "https://other:8200"}
	own.answers["sys/storage/raft/configuration"] = object{"data": object{"config": object{"servers": []object{
		{"node_id": "node-1", "address": "10.0.0.1:8201", "voter": true}, {"node_id": "b", "address": "10.0.0.2:8201", "voter": true}, {"node_id": "c", "address": "10.0.0.3:8201", "voter": true}}}}}
	own.answers["sys/storage/raft/autopilot/state"] = object{"data": object{"failure_tolerance": 1, "servers": object{"node-1": object{"healthy": true}, "b": object{"healthy": true}, "c": object{"healthy": true}}}}
	own.answers[TurnPath] = object{"data": object{"version": 1}}
	own.answers["sys/storage/raft/remove-peer"] = []any{http.StatusTemporaryRedirect, http.StatusServiceUnavailable, object{}}
	asked := 0
	own.after["sys/storage/raft/remove-peer"] = func() {
		if asked++; asked == 3 {
			own.answers["sys/health"] = gone
		}
	}
	j := joinerOf(t, own, id, func(o *Options) { o.Session = NewSession(node.NewSecret([]byte("hvs.agent")), nil, nil) })
	own.answers["auth/token/renew-self"] = object{"auth": object{"lease_duration": 3600}}
	if err := j.Retire(t.Context(), now(func(string) {})); err != nil {
		t.Fatal(err)
	}
	if n := own.count("sys/storage/raft/remove-peer"); n != 3 {
		t.Errorf("asked %d times", n)
	}
}

// A node that the leader lists is not marked as retired by its server's word that it was removed: it would stay a dead voter.
func TestRetireListedAndMarked(t *testing.T) {
	own, leader, id := pair(t)
	shut := fakeHealth(true, true)
	shut["removed_from_cluster"] = true
	own.answers["sys/health"] = shut
	leader.answers["sys/storage/raft/configuration"] = object{"data": object{"config": object{"servers": []object{{"node_id": "node-1", "address": "10.0.0.1:8201", "voter": true}}}}}
	leader.answers["auth/token/renew-self"] = object{"auth": object{"lease_duration": 3600}}
	j := joinerOf(t, own, id, func(o *Options) { o.Session = NewSession(node.NewSecret([]byte("hvs.agent")), nil, nil) })
	expectRefusal(t, j.Retire(t.Context(), now(func(string) {})), ByJoin, false, "no unsealed member")
	if _, err := os.Stat(filepath.Join(j.StateDir, retiredMark)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the mark: %v", err)
	}
}

// Who retires asks for the lock, and says why it does not get it. Nothing is removed without it.
func TestTurn(t *testing.T) {
	held := func(holder string) object {
		return object{"data": object{"version": 5, "data": object{"holder": holder}, "metadata": object{"version": 4}}}
	}
	for name, c := range map[string]struct {
		lock any
		kind Kind
		part string
	}{
		"never written":           {[]any{http.StatusNotFound, held("")}, 0, ""},
		"free":                    {held(""), 0, ""},
		"held by this node":       {held("node-1"), 0, ""},
		"held by one who is gone": {held("who-retired"), 0, ""},
		"held by a member":        {held("b"), ByTurn, "one node at a time leaves the cluster: b is being taken out"},
		"another was faster":      {[]any{held(""), refusal("check-and-set parameter did not match the current version")}, ByTurn, "another node was faster"},
		"no engine":               {refusal("no handler for route \"strongroom/data/retire\""), ByJoin, "cannot read the lock strongroom/data/retire"},
		"no permission":           {http.StatusForbidden, ByJoin, "cannot read the lock"},
		"may only read":           {[]any{held(""), http.StatusForbidden}, ByJoin, "cannot write the lock"},
	} {
		t.Run(name, func(t *testing.T) {
			own, _, id := pair(t)
			gone := fakeHealth(true, false)
			gone["removed_from_cluster"] = true
			own.answers["sys/health"] = fakeHealth(true, false)
			own.answers["sys/leader"] = object{"leader_address": "https://other:8200"}
			own.answers["sys/storage/raft/configuration"] = object{"data": object{"config": object{"servers": []object{
				{"node_id": "node-1", "address": "10.0.0.1:8201", "voter": true}, {"node_id": "b", "address": "10.0.0.2:8201", "voter": true}, {"node_id": "c", "address": "10.0.0.3:8201", "voter": true}}}}}
			own.answers["sys/storage/raft/autopilot/state"] = object{"data": object{"failure_tolerance": 1,
				"servers": object{"node-1": object{"healthy": true}, "b": object{"healthy": true}, "c": object{"healthy": true}}}}
			own.answers["auth/token/renew-self"] = object{"auth": object{"lease_duration": 3600}}
			own.answers[TurnPath] = c.lock
			own.after["sys/storage/raft/remove-peer"] = func() { own.answers["sys/health"] = gone }
			own.answers["sys/storage/raft/remove-peer"] = object{}
			j := joinerOf(t, own, id, func(o *Options) {
				o.Session = NewSession(node.NewSecret([]byte("hvs.agent")), nil, nil)
				o.Limits.Turn = time.Minute
			})
			err := j.Retire(t.Context(), now(func(string) {}))
			removed := own.count("sys/storage/raft/remove-peer")
			if c.part == "" {
				if err != nil || removed != 1 {
					t.Errorf("%v, removed %d times", err, removed)
				}
				return
			}
			expectRefusal(t, err, c.kind, false, c.part)
			if removed != 0 {
				t.Error("it was removed without the lock")
			}
		})
	}
}
