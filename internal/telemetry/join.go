package telemetry

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Join is where this node stands on its way into the cluster. The agent posts one whenever it changes.
type Join struct {
	State  string    // one of States: "ready"
	States []string  // all that there are, in their order: each is a series of its own
	Reason string    // why this state and no later one; empty when there is nothing to say. Never a secret
	Hint   string    // what somebody can do about it; may be empty
	Since  time.Time // when the state was entered
	Fault  bool      // somebody has to act: it does not go on by itself
}

// JoinReady is the state in which the node is a member and may take traffic. In every other one /healthz says no.
const JoinReady = "ready"

var (
	joinState = desc("hostcheck_join_state", "Where the node stands on its way into the cluster.", "hostcheck_join_state")
	joinSince = desc("hostcheck_join_since_timestamp_seconds", "When the state of the join was entered.")
)

// SetJoin shows this state from now on.
func (e *Exporter) SetJoin(j Join) {
	j.States = slices.Clone(j.States)
	e.join.Store(&j)
	e.wake()
}

// Join gives what SetJoin said last, or nil.
func (e *Exporter) Join() *Join { return e.join.Load() }

// all gives the states. One that is not in the list is shown all the same.
func (j *Join) all() []string {
	if slices.Contains(j.States, j.State) {
		return j.States
	}
	return append(slices.Clip(j.States), j.State)
}

// collect gives the state as a set, in which exactly one series holds.
func (j *Join) collect(ch chan<- prometheus.Metric) {
	for _, s := range j.all() {
		ch <- prometheus.MustNewConstMetric(joinState, prometheus.GaugeValue, truth(s == j.State), s)
	}
	ch <- prometheus.MustNewConstMetric(joinSince, prometheus.GaugeValue, seconds(j.Since))
}

// seconds is a moment as Prometheus writes it.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
