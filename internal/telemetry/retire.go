package telemetry

import (
	"slices"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/prometheus/client_golang/prometheus"
)

// Retirement is what the cloud says of this machine, and how far the node has gone after it was told to go.
type Retirement struct {
	State  string   // one of States: "watching"
	States []string // all that there are, in their order
	Reason string   // one sentence; empty when there is nothing to say. Never a secret
}

var retireState = desc("hostcheck_retire_state", "Whether this machine is to go for good, and how far the node is.", "hostcheck_retire_state")

// SetRetirement shows this state from now on.
func (e *Exporter) SetRetirement(r Retirement) {
	r.States = slices.Clone(r.States)
	e.retiring.Store(&r)
	e.wake()
}

func (r *Retirement) collect(ch chan<- prometheus.Metric) {
	for _, s := range r.States {
		ch <- prometheus.MustNewConstMetric(retireState, prometheus.GaugeValue, truth(s == r.State), s)
	}
}

// Retirement tells that it has changed.
func (j *Journal) Retirement(r Retirement) error {
	message := "retire: " + r.State
	p := journal.PriInfo
	if r.Reason != "" {
		message += ": " + r.Reason
		p = journal.PriNotice
	}
	return j.send(clip(message), p, map[string]string{
		"MESSAGE_ID":               MessageRetire,
		"STRONGROOM_RETIRE_STATE":  r.State,
		"STRONGROOM_RETIRE_REASON": clip(r.Reason),
	})
}
