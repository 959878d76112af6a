package resource

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// ProcessLimits are the resource limits of a unit's main process: rendered as LimitX= settings,
// verified on the process itself, since a process keeps the limits it was started with
// whatever the unit says later.
type ProcessLimits struct {
	Unit   string            `yaml:"unit" json:"unit"`
	Name   string            `yaml:"name" json:"name"`               // what these limits are about; unique for the unit
	Limits map[string]string `yaml:"limits" json:"limits,omitempty"` // core, memlock, nofile → number or "infinity"
	// Confined asks that all four user ids are unprivileged, that no execve can gain privileges,
	// and that a seccomp filter is in force.
	Confined bool `yaml:"confined" json:"confined,omitempty"`
}

// limitNames maps our word to systemd's setting and to the row of /proc/PID/limits.
var limitNames = map[string][2]string{
	"core":    {"LimitCORE", "Max core file size"},
	"memlock": {"LimitMEMLOCK", "Max locked memory"},
	"nofile":  {"LimitNOFILE", "Max open files"},
	"nproc":   {"LimitNPROC", "Max processes"},
}

func (p *ProcessLimits) Key() control.Key {
	return control.Key{Kind: "process_limits", Name: p.Unit + "/" + p.Name}
}

func (p *ProcessLimits) Validate() error {
	var r require
	r.that(strings.HasSuffix(p.Unit, ".service"), "unit %q is not a service", p.Unit)
	r.that(slugName.MatchString(p.Name), "name %q is not a slug", p.Name)
	r.that(len(p.Limits) > 0 || p.Confined, "no limits")
	for name, v := range p.Limits {
		_, known := limitNames[name]
		r.that(known, "limit %q is not one of core, memlock, nofile, nproc", name)
		_, err := parseLimit(v)
		r.that(err == nil, "limit %s: %q is neither a number nor infinity", name, v)
	}
	return r.err()
}

func parseLimit(v string) (uint64, error) {
	if v == "infinity" {
		return host.NoLimit, nil
	}
	return strconv.ParseUint(v, 10, 64)
}

func (p *ProcessLimits) Render(control.Profile) ([]overlay.Fragment, error) {
	if len(p.Limits) == 0 {
		return nil, nil
	}
	var b strings.Builder
	b.WriteString("[Service]\n")
	for _, name := range slices.Sorted(maps.Keys(p.Limits)) {
		fmt.Fprintf(&b, "%s=%s\n", limitNames[name][0], p.Limits[name])
	}
	return []overlay.Fragment{overlay.File("/usr/lib/systemd/system/"+p.Unit+".d/50-limits-"+p.Name+".conf", b.String())}, nil
}

func (p *ProcessLimits) Verify(ctx context.Context, h host.Host, stage control.Stage) []control.Observation {
	if !stage.Runs() {
		return nil
	}
	o := effective(p.Key())
	pid, ok := mainProcess(ctx, o, h, p.Unit)
	if !ok {
		return o.out
	}
	proc, err := h.Process(pid)
	if err != nil {
		o.unknown(fmt.Sprintf("/proc/%d", pid), "readable", err)
		return o.out
	}
	for _, name := range slices.Sorted(maps.Keys(p.Limits)) {
		row := limitNames[name][1]
		want, _ := parseLimit(p.Limits[name])
		source := fmt.Sprintf("/proc/%d/limits %s", pid, row)
		got, ok := proc.Limits[row]
		if !ok {
			o.unknown(source, limitText(want), fmt.Errorf("no such row"))
			continue
		}
		o.judge(source, limitText(want), "soft "+limitText(got.Soft)+", hard "+limitText(got.Hard), got.Soft == want && got.Hard == want)
	}
	if p.Confined {
		source := fmt.Sprintf("/proc/%d/status", pid)
		o.judge(source+" Uid", "four unprivileged ids", fmt.Sprint(proc.UIDs), !slices.Contains(proc.UIDs[:], 0))
		o.judge(source+" NoNewPrivs", "1", map[bool]string{true: "1", false: "0"}[proc.NoNewPrivs], proc.NoNewPrivs)
		o.equal(source+" Seccomp", "2", strconv.Itoa(proc.Seccomp))
	}
	return o.out
}

func limitText(v uint64) string {
	if v == host.NoLimit {
		return "unlimited"
	}
	return strconv.FormatUint(v, 10)
}
