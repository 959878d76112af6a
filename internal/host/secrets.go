package host

import (
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// FileSecrets is what of a file has the shape of a secret. Never the secret: a host tells it so that nobody has to read, and
// nobody records, a file that may hold one.
type FileSecrets struct {
	Shapes []string `json:"shapes,omitempty"` // "a private key (PEM)", sorted
	Names  []string `json:"names,omitempty"`  // names that tell of a secret and have a value: "DB_PASSWORD", sorted, no more than eight
}

// MaxScan is the size of the largest file that Secrets looks through.
const MaxScan = 256 << 20

// Secrets implements Host. Memory stays small whatever the file's size.
func (r root) Secrets(path string) (FileSecrets, error) {
	info, err := r.Stat(path)
	if err != nil {
		return FileSecrets{}, err
	}
	if !info.Mode.IsRegular() { // opening a device can act on it
		return FileSecrets{}, &os.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	fd, err := r.open("open", path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return FileSecrets{}, err
	}
	defer unix.Close(fd)
	found, err := findSecrets(io.NewSectionReader(readerAt(fd), 0, 1<<62), min(max(info.Size+1, 4*LongestShape), window))
	if err != nil {
		return FileSecrets{}, &os.PathError{Op: "read", Path: path, Err: err}
	}
	return found, nil
}

// Secrets implements Host.
func (r *Recorder) Secrets(path string) (FileSecrets, error) {
	return recorded(r, "Secrets", path, func() (FileSecrets, error) { return r.host.Secrets(path) })
}

// Secrets implements Host.
func (r *Recording) Secrets(path string) (FileSecrets, error) {
	return replayed[FileSecrets](r, "Secrets", path)
}

// window is how much of a file is looked at at once.
const window = 64 << 10

// windows are used again: a verification looks through some dozens of files, and its heap is never collected.
var windows = sync.Pool{New: func() any { return new([window]byte) }}

// FindSecrets looks through a file. More than MaxScan bytes give ErrTooLarge.
func FindSecrets(file io.Reader) (FileSecrets, error) { return findSecrets(file, window) }

func findSecrets(file io.Reader, size int64) (FileSecrets, error) {
	shapes, names := map[string]bool{}, map[string]bool{}
	whole := windows.Get().(*[window]byte)
	buf := whole[:size]
	defer func() {
		clear(buf) // of what may have been a secret
		windows.Put(whole)
	}()
	kept, total := 0, 0
	for begin := true; ; begin = false {
		n, err := io.ReadFull(file, buf[kept:])
		end := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !end {
			return FileSecrets{}, err
		}
		if total += n; total > MaxScan {
			return FileSecrets{}, ErrTooLarge
		}
		part := buf[:kept+n]
		if begin {
			if what := SecretFile(part); what != "" {
				shapes[what] = true
			}
		}
		shapesIn(part, shapes)
		namesIn(part, names)
		if end {
			break
		}
		// What begins near the end is seen whole in the next window.
		kept = copy(buf, part[len(part)-2*LongestShape:])
	}
	return FileSecrets{slices.Sorted(maps.Keys(shapes)), slices.Sorted(maps.Keys(names))}, nil
}
