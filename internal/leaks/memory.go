package leaks

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/zricethezav/gitleaks/v8/config"

	"github.com/strongroom/strongroom/internal/atomicfile"
)

// Memory knows in which parts of which files there was no secret, so that looking again through nearly the same tree is a matter of
// hashing it. It is of one program: what another one knew is forgotten, since its rules may be others.
type Memory struct {
	name string

	mu    sync.Mutex
	known map[sum]bool // true for what was asked for since it was read
	grown bool
}

type sum = [sha256.Size]byte

// mostRemembered bounds the file to 4 MiB. An image has some thousands of chunks.
const mostRemembered = 1 << 17

const memoryHeader = "strongroom.leaks/v1 "

// OpenMemory reads what Save wrote. A file that is not there, or of another program, is an empty memory.
func OpenMemory(name string) (*Memory, error) {
	m := &Memory{name: name, known: map[sum]bool{}}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read what earlier scans found nothing in: %w", err)
	}
	defer f.Close()
	program, err := thisProgram()
	if err != nil {
		return nil, err
	}
	return m, m.read(f, program)
}

func (m *Memory) read(r io.Reader, program string) error {
	b := bufio.NewReader(r)
	header := make([]byte, len(memoryHeader)+len(program)+1)
	if _, err := io.ReadFull(b, header); err != nil || string(header) != memoryHeader+program+"\n" {
		return nil
	}
	for range mostRemembered {
		var s sum
		if _, err := io.ReadFull(b, s[:]); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				break
			}
			return fmt.Errorf("cannot read what earlier scans found nothing in: %w", err)
		}
		m.known[s] = false
	}
	return nil
}

// thisProgram identifies the rules: those of Gitleaks, and whatever is compiled in.
func thisProgram() (string, error) {
	name, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("cannot tell which program this is: %w", err)
	}
	info, err := os.Stat(name)
	if err != nil {
		return "", fmt.Errorf("cannot tell which program this is: %w", err)
	}
	h := sha256.New()
	fmt.Fprintf(h, "%d %d %s", info.Size(), info.ModTime().UnixNano(), config.DefaultConfig)
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (m *Memory) has(s sum) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.known[s]
	if ok {
		m.known[s] = true
	}
	return ok
}

func (m *Memory) add(s sum) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known[s], m.grown = true, true
}

// Save writes the memory for the next scan, when it has learned anything. What does not fit is what nobody asked for.
func (m *Memory) Save() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.grown {
		return nil
	}
	program, err := thisProgram()
	if err != nil {
		return err
	}
	return atomicfile.Write(m.name, 0o600, func(w io.Writer) error {
		b := bufio.NewWriter(w)
		fmt.Fprintf(b, "%s%s\n", memoryHeader, program)
		left := mostRemembered
		for _, asked := range []bool{true, false} {
			for s, was := range m.known {
				if was == asked && left > 0 {
					b.Write(s[:])
					left--
				}
			}
		}
		return b.Flush()
	})
}
