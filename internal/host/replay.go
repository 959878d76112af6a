package host

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/strongroom/strongroom/internal/strictjson"
)

// Recording is a host that answers from what a Recorder wrote. It is safe for concurrent use.
type Recording struct {
	about   CaptureHost
	answers map[question]answer
}

var _ Host = (*Recording)(nil)

// Replay reads a recording. A question that it has no answer to gives ErrNotRecorded.
func Replay(r io.Reader) (*Recording, error) {
	var schema string
	out := &Recording{answers: map[question]answer{}}
	err := strictjson.Object(r, map[string]any{
		"schema": &schema,
		"host":   &out.about,
		"answers": strictjson.Each(func(d *json.Decoder) error {
			var a answer
			if err := d.Decode(&a); err != nil {
				return err
			}
			if _, ok := out.answers[a.question]; ok {
				return fmt.Errorf("two answers to %s", a.question)
			}
			if (a.Error == nil) == (a.Value == nil) {
				return fmt.Errorf("%s has not exactly one of value and error", a.question)
			}
			out.answers[a.question] = a
			return nil
		}),
	})
	if err == nil && schema != CaptureSchema {
		err = fmt.Errorf("schema %q, not %q", schema, CaptureSchema)
	}
	if err != nil {
		return nil, errBadCapture(err)
	}
	return out, nil
}

// About says which machine was recorded.
func (r *Recording) About() CaptureHost { return r.about }

// replayed answers a question.
func replayed[T any](r *Recording, method, argument string) (T, error) {
	var value T
	q := question{method, argument}
	a, ok := r.answers[q]
	if !ok {
		return value, fmt.Errorf("%s: %w", q, ErrNotRecorded)
	}
	if a.Error != nil {
		return value, a.Error
	}
	if err := json.Unmarshal(a.Value, &value); err != nil {
		var zero T
		return zero, errBadCapture(fmt.Errorf("%s: %w", q, err))
	}
	return value, nil
}

// ReadFile implements Host.
func (r *Recording) ReadFile(path string) ([]byte, error) {
	c, err := replayed[fileContent](r, "ReadFile", path)
	if err != nil {
		return nil, err
	}
	return c.bytes(), nil
}

// Lstat implements Host.
func (r *Recording) Lstat(path string) (FileInfo, error) {
	return replayed[FileInfo](r, "Lstat", path)
}

// Stat implements Host.
func (r *Recording) Stat(path string) (FileInfo, error) { return replayed[FileInfo](r, "Stat", path) }

// ReadDir implements Host.
func (r *Recording) ReadDir(path string) ([]string, error) {
	return replayed[[]string](r, "ReadDir", path)
}

// Swaps implements Host.
func (r *Recording) Swaps() ([]Swap, error) { return replayed[[]Swap](r, "Swaps", "") }

// Mounts implements Host.
func (r *Recording) Mounts() ([]Mount, error) { return replayed[[]Mount](r, "Mounts", "") }

// KernelArguments implements Host.
func (r *Recording) KernelArguments() ([]string, error) {
	return replayed[[]string](r, "KernelArguments", "")
}

// Modules implements Host.
func (r *Recording) Modules() ([]string, error) { return replayed[[]string](r, "Modules", "") }

// Listeners implements Host.
func (r *Recording) Listeners() ([]Listener, error) { return replayed[[]Listener](r, "Listeners", "") }

// Process implements Host.
func (r *Recording) Process(pid int) (Process, error) {
	return replayed[Process](r, "Process", strconv.Itoa(pid))
}

// Unit implements Host.
func (r *Recording) Unit(_ context.Context, name string) (Unit, error) {
	return replayed[Unit](r, "Unit", name)
}

// UnitStatus implements Host.
func (r *Recording) UnitStatus(_ context.Context, name string) (UnitStatus, error) {
	return replayed[UnitStatus](r, "UnitStatus", name)
}

// Units implements Host.
func (r *Recording) Units(context.Context) ([]UnitStatus, error) {
	return replayed[[]UnitStatus](r, "Units", "")
}

// Ruleset implements Host.
func (r *Recording) Ruleset(context.Context) (Ruleset, error) {
	return replayed[Ruleset](r, "Ruleset", "")
}
