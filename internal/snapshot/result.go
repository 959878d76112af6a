package snapshot

import "time"

// Result is what a run came to. It is left for the agent, which shows it: telemetry.
type Result struct {
	At      time.Time    `json:"at"`
	Active  bool         `json:"active"`            // the node leads; otherwise there was nothing to do
	Began   time.Time    `json:"began,omitzero"`    // of the snapshot, when one was due
	Seconds float64      `json:"seconds,omitempty"` // that it took
	Error   string       `json:"error,omitempty"`   // why nothing could be done at all
	Sinks   []SinkResult `json:"sinks,omitempty"`
}

// SinkResult is about the newest archive in one sink that counts.
type SinkResult struct {
	Sink     string    `json:"sink"`
	Archive  string    `json:"archive,omitempty"`
	Taken    time.Time `json:"taken,omitzero"`
	Verified time.Time `json:"verified,omitzero"`
	Bytes    int64     `json:"bytes,omitempty"` // encrypted
	Removed  int       `json:"removed,omitempty"`
	Seal     string    `json:"seal,omitempty"`    // "shamir", "transit", …: that a restore needs
	KeyID    string    `json:"key_id,omitempty"`  // and the seal's key; empty: it has none
	Restored time.Time `json:"restored,omitzero"` // when an archive of this sink was last restored in a throw-away server
	// RestoreError says why the last rehearsal of a restore failed; empty: it did not, or there was none.
	RestoreError string `json:"restore_error,omitempty"`
	Error        string `json:"error,omitempty"`   // of this run
	Warning      string `json:"warning,omitempty"` // the backup is there all the same
}

func (r *SinkResult) note(m Manifest) {
	r.Archive, r.Taken, r.Verified, r.Bytes = m.Archive, m.Taken, m.Verified, m.Encrypted.Size
	r.Seal, r.KeyID = m.Content.Seal, m.Content.KeyID
}

func (r *Result) of(s Sink) *SinkResult {
	for i := range r.Sinks {
		if r.Sinks[i].Sink == s.Name() {
			return &r.Sinks[i]
		}
	}
	return &SinkResult{}
}
