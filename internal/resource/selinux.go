package resource

import (
	"cmp"
	"context"
	"regexp"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// SELinux asks for an enforcing SELinux, and where a unit is named that its main process runs in a domain of its
// own. The policy is the distribution's and ours is none, so nothing is rendered.
type SELinux struct {
	Unit   string `yaml:"unit" json:"unit,omitempty"`
	Domain string `yaml:"domain" json:"domain,omitempty"` // type of the process: "vault_t"
}

const (
	selinuxEnforce = "/sys/fs/selinux/enforce"
)

var selinuxType = regexp.MustCompile(`^[a-z][a-z0-9_]*_t$`)

func (s *SELinux) Key() control.Key {
	return control.Key{Kind: "selinux", Name: cmp.Or(s.Unit, "kernel")}
}

func (s *SELinux) Validate() error {
	var r require
	if s.Unit == "" && s.Domain == "" {
		return nil
	}
	r.that(strings.HasSuffix(s.Unit, ".service"), "unit %q is not a service", s.Unit)
	r.that(selinuxType.MatchString(s.Domain), "domain %q is not the type of a process (like vault_t)", s.Domain)
	// A process in one of these is confined by nothing.
	r.that(!strings.HasPrefix(s.Domain, "unconfined_"), "domain %q confines nothing", s.Domain)
	return r.err()
}

func (s *SELinux) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

func (s *SELinux) Verify(ctx context.Context, h host.Host, stage control.Stage) []control.Observation {
	if !stage.Runs() {
		return nil
	}
	o := effective(s.Key())
	o.activeModule(h, "selinux")
	content, err := h.ReadFile(selinuxEnforce)
	if err != nil {
		o.missing(selinuxEnforce, "1", err)
	} else {
		o.equal(selinuxEnforce, "1", strings.TrimSpace(string(content)))
	}
	if s.Unit == "" {
		return o.out
	}
	want := "type " + s.Domain
	if label, source, ok := o.securityContext(ctx, h, s.Unit, want); ok {
		// user:role:type:range
		fields := strings.SplitN(label, ":", 4)
		o.judge(source, want, label, len(fields) >= 3 && fields[2] == s.Domain)
	}
	return o.out
}
