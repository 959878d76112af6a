package telemetry_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/report"
	"github.com/strongroom/strongroom/internal/telemetry"
)

// receiver is a StatsD server that remembers every line.
type receiver struct {
	conn net.PacketConn
	mu   sync.Mutex
	seen map[string]int
	size int // of the largest packet
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{conn: conn, seen: map[string]int{}}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, _, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			r.mu.Lock()
			r.size = max(r.size, n)
			for line := range strings.SplitSeq(strings.TrimSpace(string(buf[:n])), "\n") {
				r.seen[line]++
			}
			r.mu.Unlock()
		}
	}()
	return r
}

func (r *receiver) addr() string { return r.conn.LocalAddr().String() }

// wants waits for lines.
func (r *receiver) wants(t *testing.T, lines ...string) {
	t.Helper()
	for _, line := range lines {
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			r.mu.Lock()
			ok := r.seen[line] > 0
			r.mu.Unlock()
			if ok {
				break
			}
			if time.Now().After(deadline) {
				r.mu.Lock()
				t.Fatalf("%q did not come; there came %v", line, r.seen)
			}
		}
	}
}

func (r *receiver) has(prefix string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for line := range r.seen {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return false
}

// push starts the sender and gives what stops it.
func push(t *testing.T, e *telemetry.Exporter, o telemetry.StatsD, log *slog.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); e.Push(ctx, o, log) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return stop
}

func TestStatsD(t *testing.T) {
	plain, dog := newReceiver(t), newReceiver(t)
	e := telemetry.NewExporter(telemetry.Build{})
	e.SetNode(telemetry.Node{ID: "i-1", Cluster: "prod"})
	push(t, e, telemetry.StatsD{StatsDAddress: plain.addr(), DogStatsDAddr: dog.addr(), DogStatsDTags: []string{"env:test"}, DisableHostname: true}, quiet)
	plain.wants(t, "hostcheck.gate_open:0|g")

	e.Show(document(nil)) // the gate's: ssh-absent passes
	e.SetJoin(telemetry.Join{State: "waiting", States: []string{"waiting", "ready"}})
	e.SetGate(true)
	e.SetTLSExpiry("node", time.Now().Add(230*time.Hour))
	plain.wants(t, "hostcheck.verdict.fail:1|g", "hostcheck.verdict.pass:0|g", "hostcheck.last_run_timestamp_seconds:1700000000.5|g",
		"hostcheck.gate_open:1|g", "hostcheck.join_state.waiting:1|g", "hostcheck.join_state.ready:0|g",
		"hostcheck.checks.must.fail:1|g", "hostcheck.checks.should.unknown:1|g", "hostcheck.checks.should.fail:0|g")
	if plain.has("hostcheck.run_duration") {
		t.Error("the run of another process is timed")
	}
	e.Judged(document(func(d *report.Document) {
		d.Controls[2].Outcome = control.Fail
		d.Controls[0].Waiver = &report.Waiver{Owner: "o", Expires: time.Now().Add(36 * time.Hour)}
	}), false)
	plain.wants(t, "hostcheck.drift.ssh-absent:1|c", "hostcheck.run_duration:20|ms", "hostcheck.checks.must.fail:2|g")
	const tags = "|#env:test,cluster:prod,node_id:i-1"
	dog.wants(t, "hostcheck.verdict:1|g"+tags+",verdict:fail", "hostcheck.verdict:0|g"+tags+",verdict:pass", "hostcheck.gate_open:1|g"+tags,
		"hostcheck.join_state:1|g"+tags+",state:waiting", "hostcheck.checks:2|g"+tags+",severity:must,status:fail",
		"hostcheck.drift:1|c"+tags+",check:ssh-absent", "hostcheck.run_duration:20|ms"+tags, "hostcheck.last_run_timestamp_seconds:1700000000.5|g"+tags)
	for _, prefix := range []string{"hostcheck.waiver_days_left.memory-swap-off:1.", "hostcheck.tls_days_left.node:9."} {
		if !plain.has(prefix) {
			t.Errorf("nothing begins with %s", prefix)
		}
	}
	for name, r := range map[string]*receiver{"StatsD": plain, "DogStatsD": dog} {
		r.mu.Lock()
		if r.size == 0 || r.size > 1432 {
			t.Errorf("%s: a packet of %d bytes", name, r.size)
		}
		r.mu.Unlock()
	}
	if plain.has("hostcheck.check_status") {
		t.Error("each control has a line")
	}
}

func TestStatsDNames(t *testing.T) {
	r := newReceiver(t)
	push(t, telemetry.NewExporter(telemetry.Build{}), telemetry.StatsD{StatsDAddress: r.addr(), MetricsPrefix: "acme", DisableHostname: true}, quiet)
	r.wants(t, "acme.hostcheck.gate_open:0|g")

	named := newReceiver(t)
	push(t, telemetry.NewExporter(telemetry.Build{}), telemetry.StatsD{StatsDAddress: named.addr()}, quiet)
	for deadline := time.Now().Add(20 * time.Second); !named.has("hostcheck."); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing came")
		}
	}
	if named.has("hostcheck.gate_open") {
		t.Error("the host's name is missing")
	}
}

// A receiver that is not there, or not even a name, costs a line in the log.
func TestStatsDReceiverIsAway(t *testing.T) {
	gone := newReceiver(t)
	addr := gone.addr()
	gone.conn.Close()
	var mu sync.Mutex
	var text bytes.Buffer
	log := slog.New(slog.NewTextHandler(writer(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return text.Write(p)
	}), nil))
	e := telemetry.NewExporter(telemetry.Build{})
	stop := push(t, e, telemetry.StatsD{StatsDAddress: addr, DogStatsDAddr: "no-such-host.invalid:8125"}, log)
	for range 5000 {
		e.Judged(document(nil), false) // none of them waits
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		mu.Lock()
		told := text.String()
		mu.Unlock()
		if strings.Contains(told, addr) && strings.Contains(told, "no-such-host.invalid") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the log says nothing of it: %s", told)
		}
		e.SetGate(!e.GateOpen())
	}
	stop()
	mu.Lock()
	defer mu.Unlock()
	if n := strings.Count(text.String(), "\n"); n > 4 {
		t.Errorf("%d lines:\n%s", n, text.String())
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }
