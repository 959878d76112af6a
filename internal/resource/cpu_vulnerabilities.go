package resource

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// CPUVulnerabilities is what the kernel says about the flaws of this processor. It has no fields: for each
// flaw that the kernel knows there is one acceptable answer, which is that it does not work here.
type CPUVulnerabilities struct{}

const vulnerabilitiesDir = "/sys/devices/system/cpu/vulnerabilities"

func (c *CPUVulnerabilities) Key() control.Key {
	return control.Key{Kind: "cpu_vulnerabilities", Name: "mitigated"}
}

func (c *CPUVulnerabilities) Validate() error { return nil }

// Render has nothing to write: the kernel mitigates what it can unless an argument forbids it.
func (c *CPUVulnerabilities) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

// Verify fails on what the kernel calls vulnerable. Of a flaw that only the hypervisor can close the
// kernel says "Unknown": no host of such a platform can have the fact, and that is not a pass.
func (c *CPUVulnerabilities) Verify(_ context.Context, h host.Host, stage control.Stage) []control.Observation {
	if !stage.Runs() {
		return nil
	}
	const want = "not affected, or mitigated"
	o := effective(c.Key())
	names, err := h.ReadDir(vulnerabilitiesDir)
	if err != nil {
		// A kernel without the directory says nothing about its processor.
		if errors.Is(err, fs.ErrNotExist) {
			o.add(vulnerabilitiesDir, want, "this kernel does not tell", control.NotApplicable, nil)
			return o.out
		}
		o.unknown(vulnerabilitiesDir, want, err)
		return o.out
	}
	var vulnerable, untold []string
	for _, n := range names {
		content, err := h.ReadFile(path.Join(vulnerabilitiesDir, n))
		if err != nil {
			o.unknown(path.Join(vulnerabilitiesDir, n), want, err)
			continue
		}
		got := words(string(content))
		switch said, _, _ := strings.Cut(got, ":"); {
		// "Processor vulnerable" is said of itlb_multihit where no virtual machine can run: the way in is missing.
		case said == "Not affected", said == "Mitigation", said == "KVM", got == "Processor vulnerable":
		case said == "Unknown":
			untold = append(untold, n+" ("+got+")")
		default: // "Vulnerable", and whatever a later kernel may find new words for
			vulnerable = append(vulnerable, n+" ("+got+")")
		}
	}
	if len(untold) > 0 {
		o.add(vulnerabilitiesDir, want, "only the hypervisor knows: "+strings.Join(untold, ", "), control.NotApplicable, nil)
	}
	got := want
	if len(vulnerable) > 0 {
		got = strings.Join(vulnerable, ", ")
	}
	o.judge(vulnerabilitiesDir, want, got, len(vulnerable) == 0)
	return o.out
}
