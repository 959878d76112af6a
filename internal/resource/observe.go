package resource

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/strongroom/strongroom/internal/control"
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

func (o *observe) add(source, want, got string, outcome control.Outcome, err error) {
	o.out = append(o.out, control.Observation{
		Resource: o.key, Layer: o.layer, Outcome: outcome, Want: want, Got: got, Source: source, Err: err,
	})
}

// require collects complaints of a Validate method.
type require struct{ errs []error }

func (r *require) that(ok bool, format string, args ...any) {
	if !ok {
		r.errs = append(r.errs, fmt.Errorf(format, args...))
	}
}

func (r *require) err() error { return errors.Join(r.errs...) }
