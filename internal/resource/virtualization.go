package resource

import (
	"context"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// Virtualization states what the system may run in.
type Virtualization struct {
	// Tier is "metal", or "machine": metal or a virtual machine, which has a kernel of its own either way.
	Tier string `yaml:"tier" json:"tier"`
}

func (v *Virtualization) Key() control.Key { return control.Key{Kind: "virtualization", Name: v.Tier} }

func (v *Virtualization) Validate() error {
	var r require
	r.that(v.Tier == "metal" || v.Tier == "machine", "tier %q is neither metal nor machine", v.Tier)
	return r.err()
}

func (v *Virtualization) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

func (v *Virtualization) Verify(ctx context.Context, h host.Host, stage control.Stage) []control.Observation {
	if !stage.Runs() {
		return nil
	}
	o := effective(v.Key())
	const source = "org.freedesktop.systemd1.Manager Virtualization"
	want := map[string]string{"metal": "bare metal", "machine": "bare metal or a virtual machine"}[v.Tier]
	word, err := h.Virtualization(ctx)
	if err != nil {
		o.unknown(source, want, err)
		return o.out
	}
	tier := host.Tier(word)
	got := map[string]string{"metal": "bare metal", "vm": "a virtual machine (" + word + ")", "container": "a container (" + word + ")"}[tier]
	o.judge(source, want, got, tier == "metal" || v.Tier == "machine" && tier == "vm")
	return o.out
}
