package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/strongroom/strongroom/internal/atomicfile"
)

// DefaultStateDir is the directory on the data partition that holds the node's id and the marks.
const DefaultStateDir = "/var/lib/hostcheck"

// Marks are two files beside the node's id. They are evidence and not state: where a node stands is asked of the
// servers.
//   - retired: the node was taken out of its cluster for good. Its id is used up and its data is old.
//   - member: the node was a member once. A server that has no data beside this mark has lost it.
type marks struct{ dir string }

// mark is the content of both.
type mark struct {
	NodeID  string    `json:"node_id"`
	Cluster string    `json:"cluster_id,omitempty"`
	At      time.Time `json:"at"`
	Why     string    `json:"why,omitempty"`
}

const (
	retiredMark = "retired"
	memberMark  = "member"
	maxMark     = 4 << 10
)

// read gives nil when there is no such mark. One that cannot be read is an error: it may say anything.
func (m marks) read(name string) (*mark, error) {
	f, err := os.Open(filepath.Join(m.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxMark))
	if err != nil {
		return nil, err
	}
	return parseMark(f.Name(), b)
}

func parseMark(path string, b []byte) (*mark, error) {
	var out mark
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &out, nil
}

func (m marks) write(name string, content mark) error {
	return atomicfile.Write(filepath.Join(m.dir, name), 0o644, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(content)
	})
}
