package snapshot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/strongroom/strongroom/internal/atomicfile"
)

// ResultPath is where a run leaves its result for the agent. It is lost with the boot, and the next run finds out again from the sinks.
const ResultPath = "/run/hostcheck/snapshot.json"

// maxResult is far more than a few sinks have.
const maxResult = 256 << 10

// ReadResult gives nil when there is none.
func ReadResult(path string) (*Result, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r Result
	if err := json.NewDecoder(io.LimitReader(f, maxResult)).Decode(&r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &r, nil
}

// Leave writes a result. A run that looked into no sink, because the node does not lead or its server does not answer, takes over what
// the one before knew about them: it is still true.
func Leave(path string, r Result) error {
	if len(r.Sinks) == 0 {
		if before, err := ReadResult(path); err == nil && before != nil {
			r.Sinks, r.Began, r.Seconds = before.Sinks, before.Began, before.Seconds
		}
	}
	return atomicfile.Write(path, 0o644, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	})
}
