package resource

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// UserLockout states that no auth method has been tuned to let people guess. What is not tuned follows the
// server's configuration, which vault_config judges.
type UserLockout struct {
	Types    []string `yaml:"types" json:"types"`       // of auth methods that know a lockout: approle, ldap, userpass
	Attempts int64    `yaml:"attempts" json:"attempts"` // at most
	Seconds  int64    `yaml:"seconds" json:"seconds"`   // locked for so long, at least
}

// Key implements control.Resource.
func (u *UserLockout) Key() control.Key {
	return control.Key{Kind: "user_lockout", Name: strings.Join(u.Types, "-")}
}

// Validate implements control.Resource.
func (u *UserLockout) Validate() error {
	var r require
	r.that(len(u.Types) > 0, "no types of auth methods")
	for _, name := range u.Types {
		r.that(slugName.MatchString(name), "type %q is not a slug", name)
	}
	r.that(u.Attempts > 0 && u.Seconds > 0, "attempts and seconds must be above 0")
	return r.err()
}

// Render has nothing to add: methods are tuned through the API.
func (u *UserLockout) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

// Verify implements control.Resource.
func (u *UserLockout) Verify(ctx context.Context, h host.Host, stage control.Stage) []control.Observation {
	if stage < control.StageMember {
		return nil
	}
	o := effective(u.Key())
	const source = "/v1/sys/auth"
	want := fmt.Sprintf("locked out for %d s or more after %d tries or fewer", u.Seconds, u.Attempts)
	methods, err := h.AuthMethods(ctx)
	if err != nil {
		o.notYet(source, want, err)
		return o.out
	}
	judged := false
	for _, m := range methods {
		if !slices.Contains(u.Types, m.Type) {
			continue
		}
		judged = true
		got, ok := "not tuned: the server's configuration holds", true
		switch l := m.Lockout; {
		case l == nil:
		case l.Disabled:
			got, ok = "disabled", false
		default: // what is 0 is not tuned
			got = fmt.Sprintf("%d s after %d tries (0: the server's configuration holds)", l.Seconds, l.Attempts)
			ok = l.Attempts <= u.Attempts && (l.Seconds == 0 || l.Seconds >= u.Seconds)
		}
		o.judge(source+" "+m.Path, want, got, ok)
	}
	if !judged {
		o.add(source, want, "no auth method of type "+strings.Join(u.Types, ", "), control.NotApplicable, nil)
	}
	return o.out
}
