package resource

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// Listener states exactly which sockets of the host may be reached from outside it. There is one
// per baseline, since an exact list has only one place.
type Listener struct {
	// Allow lists "tcp/8200" and "udp/68"; any other socket fails, on loopback too: a sole tenant
	// has nobody to serve there.
	Allow []string `yaml:"allow" json:"allow"`
	// Require lists those of Allow that must be there once Vault runs.
	Require []string `yaml:"require" json:"require,omitempty"`
}

var portSpec = regexp.MustCompile(`^(tcp|udp)/([1-9][0-9]*)$`)

func (l *Listener) Key() control.Key { return control.Key{Kind: "listener", Name: "exact"} }

func (l *Listener) Validate() error {
	var r require
	for _, spec := range slices.Concat(l.Allow, l.Require) {
		m := portSpec.FindStringSubmatch(spec)
		r.that(m != nil, "%q is not protocol/port (like tcp/8200)", spec)
		if m != nil {
			n, err := strconv.Atoi(m[2])
			r.that(err == nil && n <= 65535, "port of %q is above 65535", spec)
		}
	}
	for _, spec := range l.Require {
		r.that(slices.Contains(l.Allow, spec), "%q is required but not allowed", spec)
	}
	return r.err()
}

// Render has nothing to add: sockets are the doing of services.
func (l *Listener) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

func (l *Listener) Verify(_ context.Context, h host.Host, stage control.Stage) []control.Observation {
	if !stage.Runs() {
		return nil
	}
	o := effective(l.Key())
	const source = "/proc/net/{tcp,udp}{,6}"
	want := "no other than " + strings.Join(l.Allow, ", ")
	sockets, err := h.Listeners()
	if err != nil {
		o.unknown(source, want, err)
		return o.out
	}
	open := map[string]bool{}
	others := "no other"
	for _, s := range sockets {
		spec := fmt.Sprintf("%s/%d", s.Protocol, s.Port)
		open[spec] = true
		if !slices.Contains(l.Allow, spec) {
			others = join(others, "no other", fmt.Sprintf("%s on %s (uid %d)", spec, s.Address, s.UID))
		}
	}
	o.judge(source, want, others, others == "no other")
	if stage >= control.StageRun {
		for _, spec := range l.Require {
			got := "closed"
			if open[spec] {
				got = "open"
			}
			o.equal(source+" "+spec, "open", got)
		}
	}
	return o.out
}
