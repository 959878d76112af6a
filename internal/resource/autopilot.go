package resource

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// Autopilot states how the cluster looks after its own members.
type Autopilot struct {
	Name string `yaml:"name" json:"name"` // what is stated; unique
	// Healthy: every server is.
	Healthy bool `yaml:"healthy" json:"healthy,omitempty"`
	// MinQuorum: dead servers are removed, and never so that fewer than this remain.
	MinQuorum int `yaml:"min_quorum" json:"min_quorum,omitempty"`
	// DeadServer is how many seconds a server must be silent, at least, to be removed: a reboot is no death.
	DeadServer float64 `yaml:"dead_server_seconds" json:"dead_server_seconds,omitempty"`
	// LastContact is how many seconds a server may be silent, at most, to count as healthy.
	LastContact float64 `yaml:"last_contact_seconds" json:"last_contact_seconds,omitempty"`
	// Stabilization is how many seconds a new server must have been healthy, at least, before it votes.
	Stabilization float64 `yaml:"stabilization_seconds" json:"stabilization_seconds,omitempty"`
	// TrailingLogs is how many entries a server may lag, at most, to count as healthy.
	TrailingLogs int `yaml:"max_trailing_logs" json:"max_trailing_logs,omitempty"`
}

// Key implements control.Resource.
func (a *Autopilot) Key() control.Key { return control.Key{Kind: "autopilot", Name: a.Name} }

// Validate implements control.Resource.
func (a *Autopilot) Validate() error {
	var r require
	r.that(slugName.MatchString(a.Name), "name %q is not a slug", a.Name)
	r.that(a.MinQuorum >= 0 && a.DeadServer >= 0 && a.LastContact >= 0 && a.Stabilization >= 0 && a.TrailingLogs >= 0, "a bound is negative")
	r.that(a.MinQuorum == 0 || a.MinQuorum >= 3, "min_quorum %d is below 3, which the server refuses", a.MinQuorum)
	r.that(a.Healthy || a.MinQuorum+a.TrailingLogs > 0 || a.DeadServer+a.LastContact+a.Stabilization > 0, "nothing is stated")
	return r.err()
}

// Render has nothing to add: autopilot is configured through the API.
func (a *Autopilot) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

// Verify implements control.Resource.
func (a *Autopilot) Verify(ctx context.Context, h host.Host, stage control.Stage) []control.Observation {
	if stage < control.StageMember {
		return nil
	}
	o := effective(a.Key())
	const config, state = "/v1/sys/storage/raft/autopilot/configuration", "/v1/sys/storage/raft/autopilot/state"
	seen, err := h.Autopilot(ctx)
	if err != nil {
		o.notYet(config, "autopilot", err)
		return o.out
	}
	if a.Healthy {
		got := fmt.Sprintf("healthy, %d voters", seen.Voters)
		if !seen.Healthy {
			got = "not healthy: " + cmp.Or(strings.Join(seen.Unhealthy, ", "), "no server is named")
		}
		o.judge(state, "healthy", got, seen.Healthy && len(seen.Unhealthy) == 0)
	}
	if a.MinQuorum > 0 {
		o.equal(config+" cleanup_dead_servers", "true", strconv.FormatBool(seen.CleanupDeadServers))
		o.judge(config+" min_quorum", fmt.Sprintf("%d or more", a.MinQuorum), strconv.Itoa(seen.MinQuorum), seen.MinQuorum >= a.MinQuorum)
	}
	seconds := func(name string, bound, got float64, most bool) {
		if bound == 0 {
			return
		}
		words, ok := " s or more", got >= bound
		if most {
			words, ok = " s or less", got <= bound && got > 0
		}
		o.judge(config+" "+name, decimal(bound)+words, decimal(got)+" s", ok)
	}
	seconds("dead_server_last_contact_threshold", a.DeadServer, seen.DeadServerSeconds, false)
	seconds("last_contact_threshold", a.LastContact, seen.LastContactSeconds, true)
	seconds("server_stabilization_time", a.Stabilization, seen.StabilizationSeconds, false)
	if a.TrailingLogs > 0 {
		o.judge(config+" max_trailing_logs", fmt.Sprintf("%d or fewer", a.TrailingLogs), strconv.Itoa(seen.MaxTrailingLogs),
			seen.MaxTrailingLogs <= a.TrailingLogs && seen.MaxTrailingLogs > 0)
	}
	return o.out
}

func decimal(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
