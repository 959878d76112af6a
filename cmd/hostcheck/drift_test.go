package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/resource"
)

// BenchmarkDrift changes this machine under a running agent and measures how long it takes until /metrics says so: a setting of the kernel, a mount and a
// file, which announce it, and a file that nobody reads, which does not.
func BenchmarkDrift(b *testing.B) {
	const setting = "/proc/sys/kernel/printk_ratelimit_burst"
	before, err := os.ReadFile(setting)
	if err != nil {
		b.Skip(err)
	}
	b.Cleanup(func() { _ = os.WriteFile(setting, before, 0) })
	point := b.TempDir()
	b.Cleanup(func() { _ = unix.Unmount(point, 0) })
	own := func(id string, r control.Resource) control.Control {
		return control.Control{ID: id, Family: "drift", Title: "what the benchmark changes", Severity: control.Should, Stage: control.StageBoot,
			Rationale: "The benchmark changes it.", Fix: "It takes it back.", Resources: []control.Resource{r}}
	}
	const file = "/etc/strongroom-drift"
	b.Cleanup(func() { os.Remove(file) })
	agent := startAgent(b,
		own("drift-setting", &resource.KernelFact{Path: setting, Is: strings.TrimSpace(string(before))}),
		own("drift-mount", &resource.Mounts{Name: "drift", Points: []string{point}, Options: []string{"rw"}}),
		own("drift-file", &resource.File{Path: file, Mode: "0644", Content: "good\n"}),
		own("drift-unannounced", &resource.Absent{Path: "/run/strongroom-drift-unannounced"}),
	)
	unannounced := filepath.Join(agent.run, "strongroom-drift-unannounced")
	write := func(p, text string) error { return os.WriteFile(p, []byte(text), 0o644) }
	for _, c := range []struct {
		id        string
		make, end func() error
		tries     int
		most      time.Duration
	}{
		{"drift-setting", func() error { return write(setting, strings.TrimSpace(string(before))) }, func() error { return write(setting, "7") }, 5, 100 * time.Millisecond},
		{"drift-mount", func() error { return unix.Mount("tmpfs", point, "tmpfs", 0, "") }, func() error { return unix.Unmount(point, 0) }, 5, 100 * time.Millisecond},
		{"drift-file", func() error { return write(file, "good\n") }, func() error { return write(file, "bad\n") }, 5, 100 * time.Millisecond},
		{"drift-unannounced", func() error { return os.RemoveAll(unannounced) },
			func() error { return write(unannounced, "") }, 5, 10 * time.Second},
	} {
		b.Run(c.id, func(b *testing.B) {
			// said is when /metrics says the outcome.
			said := func(outcome string) time.Time {
				b.Helper()
				line := fmt.Sprintf("hostcheck_check_status{check=%q,hostcheck_check_status=%q} 1\n", c.id, outcome)
				for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(2 * time.Millisecond) {
					page, err := agent.scrape("/metrics")
					if err != nil {
						b.Fatal(err)
					}
					if strings.Contains(page, line) {
						return time.Now()
					}
					if time.Now().After(deadline) {
						b.Fatalf("%s is not told to %s", c.id, outcome)
					}
				}
			}
			if err := c.make(); err != nil {
				b.Fatal(err)
			}
			var took []time.Duration
			for i := range c.tries {
				said("pass")
				// Two looks at once each time, of which there are four in reserve: the agent's readings are not in step with this.
				time.Sleep(10*time.Second + time.Duration(i)*1700*time.Millisecond)
				began := time.Now()
				if err := c.end(); err != nil {
					b.Fatal(err)
				}
				took = append(took, said("fail").Sub(began))
				if err := c.make(); err != nil {
					b.Fatal(err)
				}
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "ms-median")
			b.ReportMetric(float64(took[len(took)-1].Milliseconds()), "ms-most")
			b.ReportMetric(0, "ns/op")
			b.Logf("%s: %v, at most %v wanted", c.id, took, c.most)
		})
	}
}
