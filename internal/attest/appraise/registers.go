package appraise

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/measure"
)

// The registers that an image determines, alone or with its firmware.
const (
	pcrLoader     = 4
	pcrSecureBoot = 7
	pcrKernel     = 11
	pcrAdded      = 12 // what a loader, the machine or the ESP has added to the image: its command line is not in 11 then
)

// judgePCRs compares with the kernel of the image that fits best, and says which that is. All of its registers must fit: a
// kernel's value in one and another's in the next is neither.
func (r *Result) judgePCRs(got map[int]measure.Digest, want Expectation) {
	var best []Check
	var kernel, phase string
	if want.Measurements != nil {
		for i, k := range want.Measurements.Kernels {
			checks, at := judgeKernel(k, got, want.PCRs)
			if i == 0 || fitsBetter(checks, best) {
				best, kernel, phase = checks, k.Name, at
			}
		}
	}
	for _, index := range slices.Sorted(maps.Keys(want.PCRs)) {
		best = append(best, compare(index, got, []measure.Digest{want.PCRs[index]}))
	}
	slices.SortFunc(best, func(a, b Check) int { return pcrOf(a) - pcrOf(b) })
	judged := map[int]bool{}
	for _, c := range best {
		judged[pcrOf(c)] = true
		r.check(c)
	}
	if failures(best) == 0 {
		r.Kernel, r.Phase = kernel, phase
	}
	var open []string
	for _, index := range slices.Sorted(maps.Keys(got)) {
		if !judged[index] {
			open = append(open, fmt.Sprint(index))
		}
	}
	if len(open) > 0 {
		r.Notes = append(r.Notes, "registers for which nothing was expected: "+strings.Join(open, ", "))
	}
}

// judgeKernel compares the registers that a kernel determines, but for those that are expected by name.
func judgeKernel(k measure.Kernel, got, named map[int]measure.Digest) (checks []Check, phase string) {
	wants := map[int][]measure.Digest{}
	for _, value := range []measure.Digest{k.PCR4, k.PCR4Open} { // whether Secure Boot is on, PCR 7 says
		if !value.IsZero() {
			wants[pcrLoader] = append(wants[pcrLoader], value)
		}
	}
	wants[pcrAdded] = []measure.Digest{k.PCR12}
	for _, f := range k.Firmware {
		if !f.PCR7.IsZero() {
			wants[pcrSecureBoot] = append(wants[pcrSecureBoot], f.PCR7)
		}
	}
	for _, at := range k.PCR11 {
		wants[pcrKernel] = append(wants[pcrKernel], at.SHA256)
		if at.SHA256 == got[pcrKernel] {
			phase = at.Phase
		}
	}
	for index, values := range wants {
		if _, ok := named[index]; !ok {
			checks = append(checks, compare(index, got, values))
		}
	}
	return checks, phase
}

// compare asks for one of some values.
func compare(index int, got map[int]measure.Digest, wants []measure.Digest) Check {
	c := Check{Name: fmt.Sprintf("pcr %d", index), Reason: "the machine has started something else, or in another way"}
	var texts []string
	for _, w := range wants {
		texts = append(texts, w.String())
	}
	c.Want = strings.Join(texts, " or ")
	value, ok := got[index]
	if !ok {
		c.Reason = "the register was not quoted"
		return c
	}
	c.Got, c.Pass = value.String(), slices.Contains(wants, value)
	return c
}

// fitsBetter tells whether fewer values of a differ than of b, or as many differ and more agree.
func fitsBetter(a, b []Check) bool {
	if failures(a) != failures(b) {
		return failures(a) < failures(b)
	}
	return len(a) > len(b)
}

func failures(checks []Check) (n int) {
	for _, c := range checks {
		if !c.Pass {
			n++
		}
	}
	return n
}

// pcrOf is the register that a check is about.
func pcrOf(c Check) (index int) {
	_, _ = fmt.Sscanf(c.Name, "pcr %d", &index)
	return index
}
