package host

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"sync"

	"github.com/strongroom/strongroom/internal/strictjson"
)

// Recording is a host that answers from what a Recorder wrote. It is safe for concurrent use.
type Recording struct {
	about   CaptureHost
	answers map[question]recordedAnswer

	// What is large and asked for by many is decoded once, as a live host asks for it once.
	mounts memo[[]Mount]
	units  memo[[]UnitStatus]
	mu     sync.Mutex
	unit   map[string]*memo[Unit]
}

var _ Host = (*Recording)(nil)

// recordedAnswer is either of the two. A value lies in the recording as it was written, and is decoded when it is asked
// for: most runs ask for a part of them.
type recordedAnswer struct {
	value []byte
	err   *recordedError
}

// Replay reads a recording. A question that it has no answer to gives ErrNotRecorded.
func Replay(r io.Reader) (*Recording, error) {
	raw, err := io.ReadAll(r)
	if err != nil {
		return nil, errBadCapture(err)
	}
	return ReplayBytes(raw)
}

// ReplayBytes is Replay of bytes in memory, which must not change any more.
func ReplayBytes(raw []byte) (*Recording, error) {
	const usualAnswer = 400 // bytes; the map has room from the start for as many answers as there may be
	out := &Recording{answers: make(map[question]recordedAnswer, len(raw)/usualAnswer), unit: map[string]*memo[Unit]{}}
	var schema, method string
	var err error
	r := strictjson.NewReader(raw)
	if err = r.Object(func(name string) error {
		switch name {
		case "schema":
			schema, err = r.String()
			return err
		case "host":
			return decodeNext(r, &out.about)
		case "answers":
			return r.Array(func() error {
				q, a, err := readAnswer(r)
				if err != nil {
					return err
				}
				// Answers come by method, so that a few names serve them all.
				if q.Method == method {
					q.Method = method
				}
				method = q.Method
				if _, ok := out.answers[q]; ok {
					return fmt.Errorf("two answers to %s", q)
				}
				out.answers[q] = a
				return nil
			})
		}
		return strictjson.Unknown(name)
	}); err == nil {
		err = r.End()
	}
	if err == nil && schema != CaptureSchema {
		err = fmt.Errorf("schema %q, not %q", schema, CaptureSchema)
	}
	if err != nil {
		return nil, errBadCapture(err)
	}
	return out, nil
}

// readAnswer reads what [answer] is written as.
func readAnswer(r *strictjson.Reader) (q question, a recordedAnswer, err error) {
	err = r.Object(func(name string) (err error) {
		switch name {
		case "method":
			q.Method, err = r.String()
		case "argument":
			q.Argument, err = r.String()
		case "value":
			a.value, err = r.Raw()
		case "error":
			a.err, err = readError(r)
		default:
			err = strictjson.Unknown(name)
		}
		return err
	})
	if err == nil && (a.err == nil) == (a.value == nil) {
		err = fmt.Errorf("%s has not exactly one of value and error", q)
	}
	return q, a, err
}

// readError reads what [recordedError] is written as.
func readError(r *strictjson.Reader) (*recordedError, error) {
	out := &recordedError{}
	return out, r.Object(func(name string) (err error) {
		switch name {
		case "kind":
			out.Kind, err = r.String()
		case "text":
			out.Text, err = r.String()
		default:
			err = strictjson.Unknown(name)
		}
		return err
	})
}

func decodeNext(r *strictjson.Reader, target any) error {
	raw, err := r.Raw()
	if err != nil {
		return err
	}
	var d strictjson.Decoder
	return d.Decode(raw, target)
}

// About says which machine was recorded.
func (r *Recording) About() CaptureHost { return r.about }

// answer gives the recorded value, or the recorded error.
func (r *Recording) answer(q question) ([]byte, error) {
	a, ok := r.answers[q]
	if !ok {
		return nil, fmt.Errorf("%s: %w", q, ErrNotRecorded)
	}
	if a.err != nil {
		return nil, a.err
	}
	return a.value, nil
}

// replayed answers a question.
func replayed[T any](r *Recording, method, argument string) (T, error) {
	var value, zero T
	q := question{method, argument}
	raw, err := r.answer(q)
	if err != nil {
		return zero, err
	}
	if err := json.Unmarshal(raw, &value); err != nil {
		return zero, errBadCapture(fmt.Errorf("%s: %w", q, err))
	}
	return value, nil
}

// ReadFile implements Host. It reads what [fileContent] is written as.
func (r *Recording) ReadFile(path string) (content []byte, err error) {
	q := question{"ReadFile", path}
	raw, err := r.answer(q)
	if err != nil {
		return nil, err
	}
	reader := strictjson.NewReader(raw)
	if err := reader.Object(func(name string) (err error) {
		switch name {
		case "text":
			content, err = reader.Bytes()
		case "base64":
			// encoding/json would copy the text twice.
			if content, err = reader.Bytes(); err == nil {
				var n int
				n, err = base64.StdEncoding.Decode(content, content)
				content = content[:n]
			}
		default:
			err = strictjson.Unknown(name)
		}
		return err
	}); err != nil {
		return nil, errBadCapture(fmt.Errorf("%s: %w", q, err))
	}
	return content, nil
}

// fileInfo reads what [FileInfo] is written as: two in three answers are one.
func (r *Recording) fileInfo(q question) (info FileInfo, err error) {
	raw, err := r.answer(q)
	if err != nil {
		return FileInfo{}, err
	}
	reader := strictjson.NewReader(raw)
	if err := reader.Object(func(name string) (err error) {
		switch name {
		case "mode":
			var mode uint32
			mode, err = readUint32(reader)
			info.Mode = fs.FileMode(mode)
		case "uid":
			info.UID, err = readUint32(reader)
		case "gid":
			info.GID, err = readUint32(reader)
		case "size":
			var number []byte
			if number, err = reader.Raw(); err == nil {
				info.Size, err = strconv.ParseInt(string(number), 10, 64)
			}
		case "target":
			info.Target, err = reader.String()
		default:
			err = strictjson.Unknown(name)
		}
		return err
	}); err != nil {
		return FileInfo{}, errBadCapture(fmt.Errorf("%s: %w", q, err))
	}
	return info, nil
}

func readUint32(r *strictjson.Reader) (uint32, error) {
	number, err := r.Raw()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(string(number), 10, 32)
	return uint32(n), err
}

// Lstat implements Host.
func (r *Recording) Lstat(path string) (FileInfo, error) {
	return r.fileInfo(question{"Lstat", path})
}

// Stat implements Host.
func (r *Recording) Stat(path string) (FileInfo, error) { return r.fileInfo(question{"Stat", path}) }

// ReadDir implements Host.
func (r *Recording) ReadDir(path string) ([]string, error) {
	return replayed[[]string](r, "ReadDir", path)
}

// Swaps implements Host.
func (r *Recording) Swaps() ([]Swap, error) { return replayed[[]Swap](r, "Swaps", "") }

// Mounts implements Host.
func (r *Recording) Mounts() ([]Mount, error) {
	return r.mounts.get(func() ([]Mount, error) { return replayed[[]Mount](r, "Mounts", "") })
}

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
	r.mu.Lock()
	m := r.unit[name]
	if m == nil {
		m = &memo[Unit]{}
		r.unit[name] = m
	}
	r.mu.Unlock()
	return m.get(func() (Unit, error) { return r.readUnit(question{"Unit", name}) })
}

// readUnit reads a unit. encoding/json would grow the map of some 450 properties six times.
func (r *Recording) readUnit(q question) (u Unit, err error) {
	raw, err := r.answer(q)
	if err != nil {
		return Unit{}, err
	}
	reader := strictjson.NewReader(raw)
	if err := reader.Object(func(name string) (err error) {
		switch name {
		case "name":
			u.Name, err = reader.String()
		case "load_state":
			u.LoadState, err = reader.String()
		case "active_state":
			u.ActiveState, err = reader.String()
		case "unit_file_state":
			u.UnitFileState, err = reader.String()
		case "properties":
			u.Properties, err = reader.StringMap()
		default:
			err = strictjson.Unknown(name)
		}
		return err
	}); err != nil {
		return Unit{}, errBadCapture(fmt.Errorf("%s: %w", q, err))
	}
	return u, nil
}

// UnitStatus implements Host.
func (r *Recording) UnitStatus(_ context.Context, name string) (UnitStatus, error) {
	return replayed[UnitStatus](r, "UnitStatus", name)
}

// Units implements Host.
func (r *Recording) Units(context.Context) ([]UnitStatus, error) {
	return r.units.get(func() ([]UnitStatus, error) { return replayed[[]UnitStatus](r, "Units", "") })
}

// Ruleset implements Host.
func (r *Recording) Ruleset(context.Context) (Ruleset, error) {
	return replayed[Ruleset](r, "Ruleset", "")
}
