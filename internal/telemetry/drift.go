package telemetry

import (
	"maps"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/report"
)

// drift counts how often a control that has passed passes no longer. One goroutine posts.
type drift struct {
	passed map[string]bool
	total  *prometheus.CounterVec

	mu  sync.Mutex
	new map[string]int // by control, since take
}

// take gives what has drifted since the last time.
func (d *drift) take() map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer clear(d.new)
	return maps.Clone(d.new)
}

func newDrift() *drift {
	return &drift{
		passed: map[string]bool{},
		new:    map[string]int{},
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hostcheck_drift_total",
			Help: "How often a control that had passed did not pass any more, since the agent started.",
		}, []string{"check"}),
	}
}

// judged compares a report with what has passed before. A control that is pending or not applicable keeps what it
// was: its server does not run just now.
func (d *drift) judged(doc *report.Document, settling bool) {
	for _, c := range doc.Controls {
		switch {
		case c.Outcome == control.Pass:
			if !d.passed[c.ID] {
				d.passed[c.ID] = true
				d.total.WithLabelValues(c.ID) // a series that starts at 0 has an increase from the first drift on
			}
		case needsAttention(c.Outcome) && d.passed[c.ID] && !settling:
			d.passed[c.ID] = false
			d.total.WithLabelValues(c.ID).Inc()
			d.mu.Lock()
			d.new[c.ID]++
			d.mu.Unlock()
		}
	}
}
