package appraise

import (
	"fmt"

	tpm "github.com/google/go-attestation/attest"

	"github.com/strongroom/strongroom/internal/attest"
)

// firmwareRegisters are those that only firmware and boot loaders extend, so that their log explains them wholly. What
// the system measures later is in logs of its own.
const firmwareRegisters = 8

// readEventLog notes what the firmware's log says of Secure Boot, if it explains the registers. It decides nothing: the registers
// themselves were compared, and firmware writes many kinds of logs.
func (r *Result) readEventLog(d *attest.Document) {
	if len(d.EventLog) == 0 {
		r.Notes = append(r.Notes, "the machine has sent no event log")
		return
	}
	on, err := secureBoot(d)
	switch {
	case err != nil:
		r.Notes = append(r.Notes, fmt.Sprintf("the event log explains nothing: %v", err))
	case on:
		r.Notes = append(r.Notes, "Secure Boot is on, by the event log and PCR 7")
	default:
		r.Notes = append(r.Notes, "Secure Boot is off, by the event log and PCR 7")
	}
}

func secureBoot(d *attest.Document) (bool, error) {
	log, err := tpm.ParseEventLog(d.EventLog)
	if err != nil {
		return false, err
	}
	events, err := log.Verify(pcrsOf(d, func(index int) bool { return index < firmwareRegisters }))
	if err != nil {
		return false, fmt.Errorf("it does not lead to the registers: %w", err)
	}
	state, err := tpm.ParseSecurebootState(events)
	if err != nil {
		return false, err
	}
	return state.Enabled, nil
}
