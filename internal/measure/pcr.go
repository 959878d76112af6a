package measure

import (
	"crypto/sha256"
	"strings"
)

// PCR is the value of one register of the SHA-256 bank. The zero value is that of a machine that was just switched on.
type PCR = Digest

// extend is the one thing that a TPM does to a register.
func extend(p PCR, measured Digest) PCR { return sha256.Sum256(append(p[:], measured[:]...)) }

// extendData measures bytes.
func extendData(p PCR, data []byte) PCR { return extend(p, sha256.Sum256(data)) }

// words are what systemd-pcrphase (since systemd 255 systemd-pcrextend) measures into PCR 11 on the way up, in order: on entering
// the initrd, on leaving it, when the system is initialised, and when it is up.
var words = []string{"enter-initrd", "leave-initrd", "sysinit", "ready"}

// Phases are the phases of a boot: "", "enter-initrd", "enter-initrd:leave-initrd", … . What is open on each is what may be
// unlocked in it.
func Phases() []string {
	phases := []string{""}
	for i := range words {
		phases = append(phases, strings.Join(words[:i+1], ":"))
	}
	return phases
}

// phaseValues follows PCR 11 from what the boot stub leaves behind.
func phaseValues(p PCR) []PhaseValue {
	values := []PhaseValue{{"", p}}
	for i, phase := range Phases()[1:] {
		p = extendData(p, []byte(words[i]))
		values = append(values, PhaseValue{phase, p})
	}
	return values
}
