package resource

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// Measured states that the TPM's registers have the values of an image's statement of measurements (strongroom.measurements/v1). It
// comes as a credential: what is measured cannot contain its own measurement. Without one nothing is judged.
//
// hostcheck-configure.service leaves it for everybody: systemd shows a service its own credentials and no others.
//
// A node that lies can lie about this too. It is an early sign for whoever has handed over another image's statement, or
// started the image in another way; what counts is an attestation, judged elsewhere.
type Measured struct {
	Credential string `yaml:"credential" json:"credential"` // "strongroom.measurements"
}

func (m *Measured) Key() control.Key { return control.Key{Kind: "measured", Name: m.Credential} }

func (m *Measured) Validate() error {
	var r require
	r.that(m.Credential != "" && !strings.ContainsAny(m.Credential, "/ "), "credential %q is not the name of one", m.Credential)
	return r.err()
}

// Render has nothing to write.
func (m *Measured) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

// pcrs is where the kernel shows the registers of the SHA-256 bank of the first TPM.
const pcrs = "/sys/class/tpm/tpm0/pcr-sha256/"

func (m *Measured) Verify(_ context.Context, h host.Host, stage control.Stage) []control.Observation {
	if !stage.Runs() {
		return nil
	}
	o := effective(m.Key())
	source := "/run/hostcheck/" + m.Credential
	content, err := h.ReadFile(source)
	if errors.Is(err, fs.ErrNotExist) {
		o.add(source, "the values of the image", "no statement of measurements was handed over", control.NotApplicable, nil)
		return o.out
	}
	if err != nil {
		o.unknown(source, "the values of the image", err)
		return o.out
	}
	kernels, err := ParseMeasurements(content)
	if err != nil {
		o.unknown(source, "the values of the image", err)
		return o.out
	}
	var best *observe
	for _, k := range kernels {
		tried := effective(m.Key())
		tried.registers(h, k)
		if best == nil || len(tried.notPassed()) < len(best.notPassed()) {
			best = tried
		}
	}
	return best.out
}

// MeasuredKernel has the values that each register may have.
type MeasuredKernel struct {
	Name string
	PCRs map[int][]string // lower-case hex
}

// ParseMeasurements reads what matters here of a statement of measurements.
func ParseMeasurements(text []byte) ([]MeasuredKernel, error) {
	var s struct {
		Schema  string `json:"schema"`
		Kernels []struct {
			Name  string `json:"name"`
			PCR4  string `json:"pcr4"`
			Off   string `json:"pcr4_secure_boot_off"`
			PCR11 []struct {
				SHA256 string `json:"sha256"`
			} `json:"pcr11"`
			Firmware []struct {
				PCR7 string `json:"pcr7"`
			} `json:"firmware"`
		} `json:"kernels"`
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("not a statement of measurements: %w", err)
	}
	if s.Schema != "strongroom.measurements/v1" || len(s.Kernels) == 0 {
		return nil, fmt.Errorf("not a statement of measurements: schema %q, %d kernels", s.Schema, len(s.Kernels))
	}
	var kernels []MeasuredKernel
	for _, k := range s.Kernels {
		values := map[int][]string{}
		may := func(pcr int, value string) {
			if strings.Trim(value, "0") != "" { // zeros: nothing is expected
				values[pcr] = append(values[pcr], value)
			}
		}
		may(4, k.PCR4)
		may(4, k.Off)
		for _, f := range k.Firmware {
			may(7, f.PCR7)
		}
		for _, p := range k.PCR11 {
			may(11, p.SHA256)
		}
		if len(values[11]) == 0 {
			return nil, fmt.Errorf("not a statement of measurements: kernel %q has no value of PCR 11", k.Name)
		}
		kernels = append(kernels, MeasuredKernel{Name: k.Name, PCRs: values})
	}
	return kernels, nil
}

// registers compares every register of which a kernel's value is known.
func (o *observe) registers(h host.Host, k MeasuredKernel) {
	for _, index := range []int{4, 7, 11} {
		values := k.PCRs[index]
		if len(values) == 0 {
			continue
		}
		source, want := fmt.Sprint(pcrs, index), strings.Join(values, " or ")
		content, err := h.ReadFile(source)
		if err != nil {
			o.missing(source, want, err)
			continue
		}
		got := strings.ToLower(strings.TrimSpace(string(content)))
		o.judge(source, want, got, slices.Contains(values, got))
	}
}

func (o *observe) notPassed() []control.Observation {
	return slices.DeleteFunc(slices.Clone(o.out), func(x control.Observation) bool { return x.Outcome == control.Pass })
}
