package resource

import (
	"context"
	"fmt"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// SecureBoot states that firmware starts nothing that no key of its own has signed.
type SecureBoot struct {
	State string `yaml:"state" json:"state"` // "on"
}

func (s *SecureBoot) Key() control.Key { return control.Key{Kind: "secure_boot", Name: s.State} }

func (s *SecureBoot) Validate() error {
	var r require
	r.that(s.State == "on", "state %q is not on", s.State)
	return r.err()
}

// Render has nothing to write: keys are enrolled in firmware.
func (s *SecureBoot) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

// Variables of the UEFI specification, "Globally Defined Variables": four bytes of attributes as the kernel shows them, then 1
// or 0. In setup mode whoever asks may enrol keys.
const (
	efiVariables      = "/sys/firmware/efi/efivars"
	secureBootIsOn    = efiVariables + "/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
	secureBootIsSetup = efiVariables + "/SetupMode-8be4df61-93ca-11d2-aa0d-00e098032b8c"
)

func (s *SecureBoot) Verify(_ context.Context, h host.Host, stage control.Stage) []control.Observation {
	if !stage.Runs() {
		return nil
	}
	o := effective(s.Key())
	o.efiFlag(h, secureBootIsOn, 1)
	o.efiFlag(h, secureBootIsSetup, 0)
	return o.out
}

// efiFlag asks for the value of a variable of one byte. A machine without UEFI has none, and no Secure Boot.
func (o *observe) efiFlag(h host.Host, variable string, want byte) {
	content, err := h.ReadFile(variable)
	switch {
	case err != nil:
		o.missing(variable, fmt.Sprint(want), err)
	case len(content) != 5 || content[4] > 1:
		o.unknown(variable, fmt.Sprint(want), fmt.Errorf("%d bytes are not the variable's", len(content)))
	default:
		o.judge(variable, fmt.Sprint(want), fmt.Sprint(content[4]), content[4] == want)
	}
}
