package cluster

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// BenchmarkJoin measures the time from the moment when the API of a server answers to the moment when the node is a member: brought in by the joiner, with
// all its proofs, and by the server's own retry_join. Both without a token, with a transit seal.
func BenchmarkJoin(b *testing.B) {
	for _, p := range products(b) {
		w := newWorld(b, p, true)
		first := w.add("first").start().answering()
		first.initialize()
		leave := func(m *member) {
			if _, err := first.root().Logical().Write("sys/storage/raft/remove-peer", map[string]any{"server_id": m.id}); err != nil {
				b.Fatal(err)
			}
			m.kill()
		}
		n := 0
		next := func(lines ...string) *member {
			n++
			m := w.add(fmt.Sprintf("node-%d", n))
			m.start(lines...)
			eventuallyOften(b, func() bool { _, err := look(context.Background(), m.asked()); return err == nil })
			return m
		}
		b.Run(p.name+"/joiner", func(b *testing.B) {
			var joined time.Duration
			for range b.N {
				b.StopTimer()
				m := next()
				j, seen := m.joiner(m.identity(first), func(o *Options) { o.Limits = DefaultLimits })
				began := time.Now()
				seen.on = func(s Status) {
					if s.State == Unseal && s.Reason == "" {
						joined += time.Since(began)
					}
				}
				b.StartTimer()
				if err := j.Once(context.Background()); err != nil {
					b.Fatalf("%v: %s", err, seen.names())
				}
				b.StopTimer()
				leave(m)
			}
			// From there on it is the server that makes the node wait: with a seal that unseals by itself it tries every five seconds.
			b.ReportMetric(float64(joined.Milliseconds())/float64(b.N), "ms-until-joined")
		})
		b.Run(p.name+"/retry_join", func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				m := next(fmt.Sprintf("retry_join {\n leader_api_addr = %q\n leader_tls_servername = %q\n leader_ca_cert_file = \"%s/ca.crt\"\n }", first.url(), first.ServerName, first.dir))
				b.StartTimer()
				eventuallyOften(b, func() bool {
					s, err := look(context.Background(), m.asked())
					return err == nil && s.initialized && !s.sealed && s.leader != "" && s.healthy
				})
				b.StopTimer()
				leave(m)
			}
		})
	}
}

func eventuallyOften(b *testing.B, yes func() bool) {
	for end := time.Now().Add(time.Minute); !yes(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			b.Fatal("not within a minute")
		}
	}
}
