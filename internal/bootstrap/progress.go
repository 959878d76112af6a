package bootstrap

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/strongroom/strongroom/internal/atomicfile"
	"github.com/strongroom/strongroom/internal/node"
)

// Step is one that was done.
type Step struct {
	Name string    `json:"name"`
	At   time.Time `json:"at"`
}

// progress is what a run leaves for the next one. It holds no secret in the clear: shares are encrypted to their holders, the root token
// to a key that lies in memory only, and accessors open nothing.
type progress struct {
	NodeID    string     `json:"node_id"`
	ClusterID string     `json:"cluster_id,omitempty"`
	Version   string     `json:"version,omitempty"`
	Seal      string     `json:"seal,omitempty"`
	Began     time.Time  `json:"began"`
	Steps     []Step     `json:"steps,omitempty"`
	Answered  bool       `json:"answered"`              // the server's answer to its initialisation is kept
	Envelopes []Envelope `json:"envelopes,omitempty"`   // until all are delivered
	Delivered []Delivery `json:"delivered,omitempty"`   // what was read back
	Root      string     `json:"root,omitempty"`        // age; until it is revoked
	Wrapped   *wrapped   `json:"provisioner,omitempty"` // the provisioner's token
	Audit     []string   `json:"audit,omitempty"`       // types of the devices
	Members   int        `json:"members,omitempty"`     // that the proven login saw
	Finished  *time.Time `json:"finished,omitempty"`
}

// wrapped is the provisioner's token, which is in its wrapping.
type wrapped struct {
	Accessor string   `json:"accessor"` // of the token inside
	Envelope Envelope `json:"envelope"`
}

// Delivery is one secret that lies in its place.
type Delivery struct {
	What      string    `json:"what"` // "share alice", "provisioner"
	Sink      string    `json:"sink"`
	Recipient string    `json:"recipient"` // the public key, or its fingerprint
	At        time.Time `json:"read_back_at"`
}

func (p *progress) done(name string) bool {
	for _, s := range p.Steps {
		if s.Name == name {
			return true
		}
	}
	return false
}

const (
	progressFile = "progress.json"
	reportFile   = "report.json"
	maxProgress  = 4 << 20
)

// readProgress gives nil when there was no run yet.
func readProgress(dir string) (*progress, error) {
	f, err := os.Open(filepath.Join(dir, progressFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot tell how far the first start has come: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxProgress))
	if err != nil {
		return nil, fmt.Errorf("cannot tell how far the first start has come: %w", err)
	}
	return parseProgress(b)
}

func parseProgress(b []byte) (*progress, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var p progress
	if err := d.Decode(&p); err != nil {
		return nil, node.Hinted(fmt.Errorf("cannot tell how far the first start has come: %w", err), "the file is "+progressFile+"; it was written by another version, or damaged")
	}
	return &p, nil
}

// save leaves the progress so that a power cut does not take it.
func (r *run) save() error {
	b, err := json.MarshalIndent(r.state, "", "  ")
	if err != nil {
		return err
	}
	return keep(filepath.Join(r.Directory, progressFile), append(b, '\n'))
}

// keep writes a file durably, for root's eyes.
func keep(path string, content []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	err := atomicfile.Write(path, 0o600, func(w io.Writer) error {
		if _, err := w.Write(content); err != nil {
			return err
		}
		return w.(*os.File).Sync()
	})
	if err == nil {
		err = syncDirectory(dir)
	}
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return nil
}

func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
