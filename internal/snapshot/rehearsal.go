package snapshot

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// RehearsalSchema names the form of a [Rehearsal].
const RehearsalSchema = "strongroom.snapshot-restore/v1"

// Rehearsal lies beside an archive (ARCHIVE.restored.json) and says what came of restoring it in a throw-away server. It is written by the
// machine of an operator (imagebuild snapshot rehearse), which has a private key; the node that leads reads it and shows it as metrics.
type Rehearsal struct {
	Schema  string    `json:"schema"`
	Archive string    `json:"archive"`
	SHA256  string    `json:"sha256"` // of the archive as the sink has it
	At      time.Time `json:"at"`
	Error   string    `json:"error,omitempty"` // why it cannot be restored; empty: it was
	// What the restored server says of itself: with an error whatever was found until then.
	Version   string  `json:"version,omitempty"`
	ClusterID string  `json:"cluster_id,omitempty"`
	Seconds   float64 `json:"seconds,omitempty"` // from the first byte of the restore to the end of the rehearsal
	KeyID     string  `json:"key_id,omitempty"`  // of the key that the throw-away server's seal used
	Canary    string  `json:"canary,omitempty"`  // the path that was read
}

// ParseRehearsal reads one that says something about this archive.
func ParseRehearsal(content []byte, archive string) (Rehearsal, error) {
	var r Rehearsal
	if err := json.Unmarshal(content, &r); err != nil {
		return r, fmt.Errorf("cannot read the rehearsal of %s: %w", archive, err)
	}
	if r.Schema != RehearsalSchema || r.Archive != archive || r.At.IsZero() {
		return r, fmt.Errorf("the rehearsal of %s is none of this archive in the form %s", archive, RehearsalSchema)
	}
	return r, nil
}

// LeaveRehearsal puts it beside its archive.
func LeaveRehearsal(ctx context.Context, s Sink, r Rehearsal) error {
	content, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := put(ctx, s, r.Archive+rehearsalSuffix, append(content, '\n')); err != nil {
		return fmt.Errorf("cannot leave the result of the rehearsal: %w", err)
	}
	return nil
}

// maxRehearsals bounds how many archives are asked about theirs.
const maxRehearsals = 16

// noteRehearsal finds the last rehearsal of an archive in a sink. One that cannot be read is as good as none.
func (r *SinkResult) noteRehearsal(ctx context.Context, s Sink, archives []stored) {
	var last Rehearsal
	asked := 0
	for _, a := range archives {
		if !a.rehearsed {
			continue
		}
		if asked++; asked > maxRehearsals {
			break
		}
		in, err := s.Open(ctx, a.archive.Name+rehearsalSuffix)
		if err != nil {
			continue
		}
		content, err := io.ReadAll(io.LimitReader(in, maxManifest))
		in.Close()
		if err != nil {
			continue
		}
		one, err := ParseRehearsal(content, a.archive.Name)
		if err != nil {
			continue
		}
		if one.Error == "" && one.At.After(r.Restored) {
			r.Restored = one.At
		}
		if one.At.After(last.At) {
			last = one
		}
	}
	r.RestoreError = last.Error
}
