package resource

import (
	"context"
	"strconv"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// AppArmorProcess is a process that a profile confines. A profile that is loaded confines nobody who
// started before it.
type AppArmorProcess struct {
	// Unit is the service whose main process is meant; "self" is hostcheck itself, whoever started it.
	Unit    string `yaml:"unit" json:"unit"`
	Profile string `yaml:"profile" json:"profile"`
}

func (p *AppArmorProcess) Key() control.Key {
	return control.Key{Kind: "apparmor_process", Name: p.Unit}
}

func (p *AppArmorProcess) Validate() error {
	var r require
	r.that(p.Unit == "self" || strings.HasSuffix(p.Unit, ".service"), "unit %q is neither a service nor self", p.Unit)
	r.that(slugName.MatchString(p.Profile), "profile %q is not a slug", p.Profile)
	return r.err()
}

func (p *AppArmorProcess) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

func (p *AppArmorProcess) Verify(ctx context.Context, h host.Host, stage control.Stage) []control.Observation {
	if !stage.Runs() {
		return nil
	}
	o := effective(p.Key())
	if context, source, ok := o.securityContext(ctx, h, p.Unit, p.want()); ok {
		o.equal(source, p.want(), context)
	}
	return o.out
}

func (p *AppArmorProcess) want() string { return p.Profile + " (enforce)" }

// securityContext reads what the security module says of a process: "vault (enforce)", or
// "system_u:system_r:vault_t:s0". Not ok means that it has been recorded why not.
func (o *observe) securityContext(ctx context.Context, h host.Host, unit, want string) (text, source string, ok bool) {
	dir := "/proc/self"
	if unit != "self" {
		pid, ok := mainProcess(ctx, o, h, unit)
		if !ok {
			return "", "", false
		}
		dir = "/proc/" + strconv.Itoa(pid)
	}
	source = dir + "/attr/current"
	content, err := h.ReadFile(source)
	if err != nil {
		o.missing(source, want, err)
		return "", "", false
	}
	// AppArmor ends the text with a line feed, SELinux with a zero byte.
	return strings.TrimRight(string(content), "\x00\n"), source, true
}
