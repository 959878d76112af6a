package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Schema names the form of a manifest.
const Schema = "strongroom.snapshot/v1"

// Manifest lies beside an archive in its sink. It is written last: an archive without one was never found whole, and does not count.
type Manifest struct {
	Schema      string    `json:"schema"`
	Archive     string    `json:"archive"`
	Taken       time.Time `json:"taken"`
	Verified    time.Time `json:"verified"` // when the sink has given it out again as it was put there
	ClusterName string    `json:"cluster_name"`
	ClusterID   string    `json:"cluster_id"`
	NodeID      string    `json:"node_id"`
	Server      string    `json:"server"` // "vault", "openbao"
	Version     string    `json:"version"`
	Content     Content   `json:"content"`
	Snapshot    Sum       `json:"snapshot"`   // as the server gave it
	Encrypted   Sum       `json:"encrypted"`  // as the sink has it
	Recipients  []string  `json:"recipients"` // fingerprints of those who can open it: Fingerprint
}

// Sum is a length and a digest.
type Sum struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Fingerprint tells recipients apart: printf %s age1… | sha256sum, the first 16 digits.
func Fingerprint(recipient string) string {
	sum := sha256.Sum256([]byte(recipient))
	return hex.EncodeToString(sum[:8])
}

const (
	archiveSuffix   = ".snap.age"
	manifestSuffix  = ".json"
	rehearsalSuffix = ".restored.json"
	stampForm       = "20060102T150405Z"
	maxManifest     = 64 << 10
)

// name of an archive: cluster, time, and eight random digits, so that nothing is ever written over.
func name(cluster string, at time.Time, random [4]byte) string {
	return cluster + "." + at.UTC().Format(stampForm) + "." + hex.EncodeToString(random[:]) + archiveSuffix
}

var nameForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]*)\.([0-9]{8}T[0-9]{6}Z)\.[0-9a-f]{8}\.snap\.age$`)
})

// takenAt reads the time from the name of an archive of this cluster; no for every other name.
func takenAt(cluster, archive string) (time.Time, bool) {
	parts := nameForm().FindStringSubmatch(archive)
	if parts == nil || parts[1] != cluster {
		return time.Time{}, false
	}
	at, err := time.Parse(stampForm, parts[2])
	return at, err == nil
}

// ParseManifest reads one that says something about this archive.
func ParseManifest(content []byte, archive string) (Manifest, error) {
	var m Manifest
	d := json.NewDecoder(bytes.NewReader(content))
	if err := d.Decode(&m); err != nil {
		return m, fmt.Errorf("cannot read the manifest of %s: %w", archive, err)
	}
	switch {
	case m.Schema != Schema:
		return m, fmt.Errorf("cannot read the manifest of %s: its schema is %.40q, not %s", archive, m.Schema, Schema)
	case m.Archive != archive:
		return m, fmt.Errorf("the manifest of %s is that of another archive", archive)
	case m.Encrypted.Size <= 0 || len(m.Encrypted.SHA256) != 64 || strings.Trim(m.Encrypted.SHA256, "0123456789abcdef") != "":
		return m, fmt.Errorf("the manifest of %s names no length and no sum", archive)
	case m.Verified.IsZero():
		return m, errors.New("the manifest of " + archive + " does not say that it was verified")
	}
	return m, nil
}

func (m Manifest) encode() ([]byte, error) {
	b, err := json.MarshalIndent(m, "", "  ")
	return append(b, '\n'), err
}
