package resource

import (
	"errors"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
)

// notYet records why a fact of the server's API is not there. Without a token, or sealed, its time has not
// come: pending. A token that was refused could not look: unknown.
func (o *observe) notYet(source, want string, err error) {
	for _, reason := range []error{host.ErrNoToken, host.ErrSealed} {
		if errors.Is(err, reason) {
			o.add(source, want, reason.Error(), control.Pending, nil)
			return
		}
	}
	o.unknown(source, want, err)
}
