package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Recorder passes questions to a host and writes down its answers, errors included and secrets
// left out. The first answer to a question is the one that is kept. It is safe for concurrent use.
type Recorder struct {
	host Host
	tap  Tap // of a host that is not recorded but tapped

	mu      sync.Mutex
	answers map[question]answer
	err     error
}

var _ Host = (*Recorder)(nil)

// NewRecorder records what h is asked from now on.
func NewRecorder(h Host) *Recorder {
	return &Recorder{host: h, answers: map[question]answer{}}
}

// WriteTo writes the recording as JSON. The same answers give the same bytes.
func (r *Recorder) WriteTo(w io.Writer) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return 0, r.err
	}
	c := capture{Schema: CaptureSchema, Host: describeHost(r.host), Answers: []answer{}}
	for _, a := range r.answers {
		c.Answers = append(c.Answers, a)
	}
	slices.SortFunc(c.Answers, func(a, b answer) int { return compareQuestions(a.question, b.question) })
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(c); err != nil {
		return 0, fmt.Errorf("cannot write capture: %w", err)
	}
	return out.WriteTo(w)
}

// describeHost says what it can; a host that keeps it to itself is recorded all the same.
func describeHost(h Host) CaptureHost {
	var out CaptureHost
	if b, err := h.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		out.Kernel = strings.TrimSpace(string(b))
	}
	b, err := h.ReadFile("/etc/os-release")
	if err != nil {
		return out
	}
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch value = strings.Trim(value, `"'`); key {
		case "PRETTY_NAME":
			out.Distribution = value
		case "IMAGE_VERSION":
			out.ImageVersion = value
		}
	}
	return out
}

// record keeps an answer. An asker that ran out of time, and a replay that does not know, said
// nothing about the host.
func (r *Recorder) record(q question, value any, err error) {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrNotRecorded) {
		return
	}
	a := answer{question: q}
	if err != nil {
		a.Error = recordError(err)
	} else {
		var failure error
		if a.Value, failure = redactValue(value); failure != nil {
			failure = fmt.Errorf("cannot record %s: %w", q, failure)
			r.mu.Lock()
			r.err = errors.Join(r.err, failure)
			r.mu.Unlock()
			return
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.answers[q]; !ok {
		r.answers[q] = a
	}
}

// recorded asks, writes down and passes on.
func recorded[T any](r *Recorder, method, argument string, ask func() (T, error)) (T, error) {
	value, err := ask()
	if r.tap != nil {
		return tapped(r.tap, method, argument, value, err)
	}
	r.record(question{method, argument}, value, err)
	return value, err
}

// ReadFile implements Host.
func (r *Recorder) ReadFile(path string) ([]byte, error) {
	b, err := r.host.ReadFile(path)
	if r.tap != nil {
		return tapped(r.tap, "ReadFile", path, b, err)
	}
	r.record(question{"ReadFile", path}, newFileContent(redactFile(path, b)), err)
	return b, err
}

// Lstat implements Host.
func (r *Recorder) Lstat(path string) (FileInfo, error) {
	return recorded(r, "Lstat", path, func() (FileInfo, error) { return r.host.Lstat(path) })
}

// Stat implements Host.
func (r *Recorder) Stat(path string) (FileInfo, error) {
	return recorded(r, "Stat", path, func() (FileInfo, error) { return r.host.Stat(path) })
}

// ReadDir implements Host.
func (r *Recorder) ReadDir(path string) ([]string, error) {
	return recorded(r, "ReadDir", path, func() ([]string, error) { return r.host.ReadDir(path) })
}

// Swaps implements Host.
func (r *Recorder) Swaps() ([]Swap, error) { return recorded(r, "Swaps", "", r.host.Swaps) }

// Mounts implements Host.
func (r *Recorder) Mounts() ([]Mount, error) { return recorded(r, "Mounts", "", r.host.Mounts) }

// KernelArguments implements Host.
func (r *Recorder) KernelArguments() ([]string, error) {
	return recorded(r, "KernelArguments", "", r.host.KernelArguments)
}

// Modules implements Host.
func (r *Recorder) Modules() ([]string, error) { return recorded(r, "Modules", "", r.host.Modules) }

// Listeners implements Host.
func (r *Recorder) Listeners() ([]Listener, error) {
	return recorded(r, "Listeners", "", r.host.Listeners)
}

// Process implements Host.
func (r *Recorder) Process(pid int) (Process, error) {
	return recorded(r, "Process", strconv.Itoa(pid), func() (Process, error) { return r.host.Process(pid) })
}

// Unit implements Host.
func (r *Recorder) Unit(ctx context.Context, name string) (Unit, error) {
	return recorded(r, "Unit", name, func() (Unit, error) { return r.host.Unit(ctx, name) })
}

// UnitStatus implements Host.
func (r *Recorder) UnitStatus(ctx context.Context, name string) (UnitStatus, error) {
	return recorded(r, "UnitStatus", name, func() (UnitStatus, error) { return r.host.UnitStatus(ctx, name) })
}

// Units implements Host.
func (r *Recorder) Units(ctx context.Context) ([]UnitStatus, error) {
	return recorded(r, "Units", "", func() ([]UnitStatus, error) { return r.host.Units(ctx) })
}

// Ruleset implements Host.
func (r *Recorder) Ruleset(ctx context.Context) (Ruleset, error) {
	return recorded(r, "Ruleset", "", func() (Ruleset, error) { return r.host.Ruleset(ctx) })
}
