//go:build boot

package lab

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	vault "github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/lab/network"
)

const clusterTimeout = 18 * time.Minute // emulated, three nodes on two cores

// newCluster prepares a cluster that ends with the test. It takes the place of every machine that the tests may run at once.
func newCluster(t testing.TB, o ClusterOptions) *Cluster {
	t.Helper()
	o.Image, _ = finished(t)
	o.Dir = t.TempDir()
	o.Log = testLog()
	if o.Seal == SealTransit {
		var err error
		if o.VaultBinary, err = serverBinary(vaultProduct(t)); err != nil {
			t.Fatal(err)
		}
	}
	for range cap(slots) {
		slots <- struct{}{}
	}
	t.Cleanup(func() {
		for range cap(slots) {
			<-slots
		}
	})
	c, err := NewCluster(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			c.tell(t)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// tell shows what a failed test has left.
func (c *Cluster) tell(t testing.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var table bytes.Buffer
	WriteStatus(&table, c.Status(ctx))
	t.Logf("the lab:\n%s", table.String())
	for _, m := range c.members {
		if n := m.running(); n != nil && !n.IsCut() {
			_, body, err := n.Get(ctx, c.services.Telemetry, "/healthz")
			t.Logf("%s: /healthz: %s %v", m.name, bytes.TrimSpace(body), err)
		}
		text, _ := os.ReadFile(m.consoleLog())
		t.Logf("console of %s:\n%s", m.name, text[max(0, len(text)-16<<10):])
	}
}

func bringUp(t *testing.T, c *Cluster) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), clusterTimeout)
	t.Cleanup(cancel)
	started := time.Now()
	if err := c.Up(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("up after %.0f s", time.Since(started).Seconds())
	return ctx
}

func clientOf(t *testing.T, c *Cluster, name string) *vault.Client {
	t.Helper()
	client, err := c.Client(name)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// requireReady waits until these nodes say of themselves that they are members.
func requireReady(t *testing.T, ctx context.Context, c *Cluster, names ...string) Status {
	t.Helper()
	var status Status
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(pace) {
		status = c.Status(ctx)
		ready := true
		for _, n := range status.Nodes {
			member := n.Role == "leader" || n.Role == "follower"
			ready = ready && (!slices.Contains(names, n.Name) || n.Join == "ready" && n.State == stateRunning && member)
		}
		if ready {
			return status
		}
	}
	for _, n := range status.Nodes {
		t.Errorf("%+v", n)
	}
	t.FailNow()
	return status
}

// requirePeers wants these nodes in the Raft configuration, each once, as voters, and nobody else.
func requirePeers(t *testing.T, ctx context.Context, c *Cluster, names ...string) {
	t.Helper()
	peers, err := c.Peers(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, p := range peers {
		ids[p.NodeID] = true
	}
	if len(peers) != len(names) || len(ids) != len(names) {
		t.Errorf("peers %+v, want %v", peers, names)
	}
	for _, name := range names {
		m, err := c.member(name)
		if err != nil {
			t.Fatal(err)
		}
		if p, ok := m.peerOf(peers); !ok || !p.Voter {
			t.Errorf("%s is %+v in the configuration", name, p)
		}
	}
}

// TestClusterOfThree: the first node is initialised with a transit seal, whose Vault is outside; two join unattended. A fourth
// fails a must control. Then one of the three is replaced, and loses its power while it joins.
func TestClusterOfThree(t *testing.T) {
	const statsPort = 8125
	c := newCluster(t, ClusterOptions{
		Nodes: 4, Seal: SealTransit, Disks: map[string]string{"node-4": variant(t, "unfit", sysctlFault("fs.protected_fifos", "0"))},
		Blocks: []string{fmt.Sprintf("telemetry {\n  statsd_address = \"%s:%d\"\n}\n", network.Host, statsPort)},
	})
	figures := receiveStats(t, c, statsPort)
	ctx := bringUp(t, c)
	three := []string{"node-1", "node-2", "node-3"}

	t.Run("autopilot: healthy, one may fail", func(t *testing.T) {
		state, err := c.Autopilot(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if !state.Healthy || state.FailureTolerance != 1 || len(state.Voters) != 3 {
			t.Errorf("autopilot: %+v", state)
		}
		requirePeers(t, ctx, c, three...)
	})
	t.Run("every node says so itself", func(t *testing.T) { requireReady(t, ctx, c, three...) })
	t.Run("written on one, read on another", func(t *testing.T) {
		first, last := clientOf(t, c, "node-1"), clientOf(t, c, "node-3")
		if err := first.Sys().MountWithContext(ctx, "proof", &vault.MountInput{Type: "kv"}); err != nil {
			t.Fatal(err)
		}
		value := fmt.Sprint(time.Now().UnixNano())
		if _, err := first.Logical().WriteWithContext(ctx, "proof/entry", map[string]any{"value": value}); err != nil {
			t.Fatal(err)
		}
		secret, err := last.Logical().ReadWithContext(ctx, "proof/entry")
		if err != nil || secret == nil || secret.Data["value"] != value {
			t.Errorf("read %+v, %v; want %s", secret, err, value)
		}
	})
	t.Run("a node that fails is no member, and says why", func(t *testing.T) {
		m, _ := c.member("node-4")
		document, _, err := m.running().Report(ctx)
		if err != nil {
			t.Fatal(err)
		}
		requireOutcome(t, document, "links-protected", control.Fail)
		metrics, err := m.running().Metrics(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`hostcheck_verdict{hostcheck_verdict="fail"} 1`, "hostcheck_gate_open 0"} {
			if !strings.Contains(string(metrics), want) {
				t.Errorf("the metrics lack %s", want)
			}
		}
		if ports, err := m.running().Scan(ctx, []int{PortAPI, PortRaft, PortTelemetry}); err != nil || !slices.Equal(ports.Open, []int{PortTelemetry}) {
			t.Errorf("open ports %v, %v", ports.Open, err)
		}
		requirePeers(t, ctx, c, three...)
	})
	t.Run("Prometheus and StatsD learn the same", func(t *testing.T) {
		requireScraped(t, ctx, c)
		requireCleanMetrics(t, ctx, c)
		figures.require(t, "hostcheck", network.Machines, len(c.members))
	})
	// The cluster is small enough without it.
	if err := c.Kill("node-4"); err != nil {
		t.Fatal(err)
	}
	t.Run("a node is replaced, and its power is cut while it joins", func(t *testing.T) { replaceAndCut(t, ctx, c, "node-3", "join", three) })
}

// replaceAndCut replaces a node, kills it as soon as its join has come to a state, and lets it boot again. It must become a
// member, or refuse and be replaced once more.
func replaceAndCut(t *testing.T, ctx context.Context, c *Cluster, name, state string, all []string) {
	t.Helper()
	r := replaceUntil(t, ctx, c, name, state)
	if err := c.Kill(name); err != nil {
		t.Fatal(err)
	}
	r.stop()
	<-r.booted // it may have come to a verdict before
	if err := c.Start(ctx, name); err != nil {
		t.Fatal(err)
	}
	r.requireMember(t, ctx, c, all)
}

// replacement is a node in whose place a fresh one joins.
type replacement struct {
	m      *member
	old    string // the node id of the one before
	booted chan error
	stop   context.CancelFunc
}

// replaceUntil replaces a node until the fresh one's join has come to a state, or beyond it.
func replaceUntil(t *testing.T, ctx context.Context, c *Cluster, name, state string) replacement {
	t.Helper()
	m, err := c.member(name)
	if err != nil {
		t.Fatal(err)
	}
	before, err := c.Peers(ctx)
	if err != nil {
		t.Fatal(err)
	}
	old, _ := m.peerOf(before)
	replaced := m.running()
	booting, cancel := context.WithCancel(ctx)
	t.Cleanup(cancel)
	r := replacement{m, old.NodeID, make(chan error, 1), cancel}
	go func() { r.booted <- c.Replace(booting, name) }()
	t.Logf("the join of %s is at %q", name, awaitJoinState(t, ctx, m, replaced, state))
	return r
}

// requireMember waits until the fresh node is a member under one new id. One that refuses, because the power went while its server
// wrote, is replaced once more.
func (r replacement) requireMember(t *testing.T, ctx context.Context, c *Cluster, all []string) {
	t.Helper()
	if torn := awaitMember(t, ctx, c, r.m); torn != "" {
		t.Logf("it refuses, and is replaced: %s", torn)
		if peers, err := c.Peers(ctx); err != nil || len(peers) > len(all) {
			t.Errorf("peers %+v, %v", peers, err)
		}
		if err := c.Replace(ctx, r.m.name); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.AwaitMembers(ctx, all...); err != nil {
		t.Fatal(err)
	}
	requireReady(t, ctx, c, all...)
	requirePeers(t, ctx, c, all...)
	after, err := c.Peers(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if fresh, _ := r.m.peerOf(after); fresh.NodeID == "" || fresh.NodeID == r.old {
		t.Errorf("the id was %q and is %q", r.old, fresh.NodeID)
	}
}

// awaitMember waits until a node's join is ready, or refused for what a power cut may do: then it gives the reason.
func awaitMember(t *testing.T, ctx context.Context, c *Cluster, m *member) (torn string) {
	t.Helper()
	said := ""
	for deadline := time.Now().Add(c.options.Timeout); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(pace) {
		switch said = sayOf(ctx, c, m.name); {
		case strings.HasPrefix(said, "ready: "):
			return ""
		case strings.HasPrefix(said, "refused: ") && strings.Contains(said, "lost its power while it joined"):
			return said
		}
	}
	t.Fatalf("%s is no member: %q", m.name, said)
	return ""
}

// sayOf is where a node's join is and what /healthz says of it; empty as long as the node or the cluster is not up.
func sayOf(ctx context.Context, c *Cluster, name string) string {
	n := c.Node(name)
	if n == nil || !c.Keys().made() {
		return ""
	}
	asking, cancel := context.WithTimeout(ctx, 2*requestTimeout)
	defer cancel()
	_, body, err := n.Get(asking, c.services.Telemetry, "/healthz")
	if err != nil {
		return ""
	}
	metrics, err := n.Metrics(asking)
	if err != nil {
		return ""
	}
	return stateSet(metrics, "hostcheck_join_state") + ": " + strings.TrimSpace(string(body))
}

// joinOrder are the states that a join passes, in their order.
var joinOrder = []string{"gate", "api", "local", "find", "none", "prove", "judge", "join", "unseal", "listed", "promote", "ready"}

// awaitJoinState waits until the join of a node that replaces another one has come to a state, or beyond it: states are
// short, and the lab looks from outside.
func awaitJoinState(t *testing.T, ctx context.Context, m *member, replaced *Node, state string) string {
	t.Helper()
	for ctx.Err() == nil {
		if n := m.running(); n != nil && n != replaced {
			asking, cancel := context.WithTimeout(ctx, requestTimeout)
			metrics, err := n.Metrics(asking)
			cancel()
			if err == nil {
				if at := stateSet(metrics, "hostcheck_join_state"); slices.Index(joinOrder, at) >= slices.Index(joinOrder, state) {
					return at
				}
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("the join of %s does not come to %q: %v", m.name, state, context.Cause(ctx))
	return ""
}

// stats are the names of the figures that came by StatsD, by the machine that sent them.
type stats struct{ lines chan statsLine }

type statsLine struct {
	from netip.Addr
	text string
}

// receiveStats listens on the lab's own host for StatsD.
func receiveStats(t *testing.T, c *Cluster, port uint16) *stats {
	t.Helper()
	conn, err := c.Network().ListenPacket(netip.AddrPortFrom(network.Host, port))
	if err != nil {
		t.Fatal(err)
	}
	s := &stats{make(chan statsLine, 4096)}
	go func() {
		for buffer := make([]byte, 64<<10); ; {
			length, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			address, err := netip.ParseAddrPort(from.String())
			if err != nil {
				continue
			}
			for line := range strings.Lines(string(buffer[:length])) {
				select {
				case s.lines <- statsLine{address.Addr().Unmap(), line}:
				default: // nobody looks yet, and what comes again need not be kept
				}
			}
		}
	}()
	return s
}

// require waits for figures of so many machines whose names hold the text.
func (s *stats) require(t *testing.T, name string, from netip.Prefix, machines int) {
	t.Helper()
	seen := map[netip.Addr]string{}
	for deadline := time.After(2 * time.Minute); len(seen) < machines; {
		select {
		case line := <-s.lines:
			if from.Contains(line.from) && strings.Contains(line.text, name) {
				seen[line.from] = line.text
			}
		case <-deadline:
			t.Fatalf("figures of %d machines came, want %d: %v", len(seen), machines, seen)
		}
	}
	t.Logf("StatsD: %v", seen)
}

// requireCleanMetrics gives the pages of every node to promtool.
func requireCleanMetrics(t *testing.T, ctx context.Context, c *Cluster) {
	t.Helper()
	program, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("SKIPPED, NOTHING WAS PROVEN: needs Debian's package prometheus (make deps)")
	}
	for _, m := range c.members {
		status, page, err := m.running().Get(ctx, c.services.Telemetry, "/metrics")
		if err != nil || status != http.StatusOK {
			t.Fatalf("%s: status %d, %v", m.name, status, err)
		}
		check := exec.CommandContext(ctx, program, "check", "metrics")
		check.Stdin = bytes.NewReader(page)
		if output, err := check.CombinedOutput(); err != nil || len(bytes.TrimSpace(output)) > 0 {
			t.Errorf("promtool of %s: %v: %s", m.name, err, output)
		}
	}
}
