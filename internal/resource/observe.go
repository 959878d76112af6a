package resource

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
)

// observe builds the observations of one resource, so that every kind says what it wanted, what
// it got and where it looked in the same way.
type observe struct {
	key   control.Key
	layer control.Layer
	out   []control.Observation
}

func onDisk(key control.Key) *observe    { return &observe{key: key, layer: control.OnDisk} }
func effective(key control.Key) *observe { return &observe{key: key, layer: control.Effective} }

// equal passes when got is what was wanted.
func (o *observe) equal(source, want, got string) {
	o.judge(source, want, got, want == got)
}

// judge records a comparison whose verdict the kind has made itself.
func (o *observe) judge(source, want, got string, ok bool) {
	outcome := control.Fail
	if ok {
		outcome = control.Pass
	}
	o.add(source, want, got, outcome, nil)
}

// unknown records that the host could not be read. It never passes.
func (o *observe) unknown(source, want string, err error) {
	o.add(source, want, "", control.Unknown, err)
}

// missing records a failed read: an absent file is a fact and fails, anything else is unknown.
func (o *observe) missing(source, want string, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		o.add(source, want, "absent", control.Fail, nil)
		return
	}
	o.unknown(source, want, err)
}

// none passes when a list of what breaks a rule is empty.
func (o *observe) none(source, rule, breaking string) {
	got := rule
	if breaking != "" {
		got = "not so: " + breaking
	}
	o.judge(source, rule, got, breaking == "")
}

// mapped asks that the device below a mount is a target of the device mapper whose uuid begins so; unmapped says
// what it means that it is none.
func (o *observe) mapped(h host.Host, mt host.Mount, prefix, unmapped string) {
	source, want := "/sys/dev/block/"+mt.Device+"/dm/uuid", prefix+"…"
	content, err := h.ReadFile(source)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		o.judge(source, want, unmapped, false)
	case err != nil:
		o.unknown(source, want, err)
	default:
		uuid := strings.TrimSpace(string(content))
		o.judge(source, want, uuid, strings.HasPrefix(uuid, prefix))
	}
}

func (o *observe) add(source, want, got string, outcome control.Outcome, err error) {
	o.out = append(o.out, control.Observation{
		Resource: o.key, Layer: o.layer, Outcome: outcome, Want: want, Got: got, Source: source, Err: err,
	})
}

// maxNamed bounds what one observation names, so that a report stays readable.
const maxNamed = 20

// named is a list in words, or none when it is empty.
func named(items []string, none string) string {
	if len(items) == 0 {
		return none
	}
	if len(items) > maxNamed {
		return fmt.Sprintf("%s and %d more", strings.Join(items[:maxNamed], ", "), len(items)-maxNamed)
	}
	return strings.Join(items, ", ")
}

// absolute reports whether a path is absolute and clean.
func absolute(p string) bool { return path.IsAbs(p) && path.Clean(p) == p }

// require collects complaints of a Validate method.
type require struct{ errs []error }

func (r *require) that(ok bool, format string, args ...any) {
	if !ok {
		r.errs = append(r.errs, fmt.Errorf(format, args...))
	}
}

func (r *require) err() error { return errors.Join(r.errs...) }
