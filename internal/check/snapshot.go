package check

import (
	"context"
	"errors"
	"strconv"
	"sync"

	"github.com/strongroom/strongroom/internal/host"
)

// snapshot asks a host for each path and each unit once in a run. Many controls look at the same few (each
// sysctl at all of sysctl.d, each property at vault.service), and all of them are to judge the same
// bytes.
type snapshot struct {
	host.Host
	files memo[[]byte]
	lstat memo[host.FileInfo]
	stat  memo[host.FileInfo]
	names memo[[]string]

	derived   memo[any]
	processes memo[host.Process]

	mu    sync.Mutex
	units map[string]unitAnswer
}

var _ host.Deriver = (*snapshot)(nil)

type unitAnswer struct {
	unit host.Unit
	err  error
}

// ReadFile implements host.Host.
func (s *snapshot) ReadFile(p string) ([]byte, error) { return s.files.get(p, s.Host.ReadFile) }

// Lstat implements host.Host.
func (s *snapshot) Lstat(p string) (host.FileInfo, error) { return s.lstat.get(p, s.Host.Lstat) }

// Stat implements host.Host.
func (s *snapshot) Stat(p string) (host.FileInfo, error) { return s.stat.get(p, s.Host.Stat) }

// ReadDir implements host.Host.
func (s *snapshot) ReadDir(p string) ([]string, error) { return s.names.get(p, s.Host.ReadDir) }

// Derived implements host.Deriver.
func (s *snapshot) Derived(key string, compute func() any) any {
	v, _ := s.derived.get(key, func(string) (any, error) { return compute(), nil })
	return v
}

// Process implements host.Host.
func (s *snapshot) Process(pid int) (host.Process, error) {
	return s.processes.get(strconv.Itoa(pid), func(string) (host.Process, error) { return s.Host.Process(pid) })
}

// Unit implements host.Host. An asker that ran out of time learned nothing about the unit, so that
// answer is not kept; nobody waits for another's question, which has that other's time-out.
func (s *snapshot) Unit(ctx context.Context, name string) (host.Unit, error) {
	s.mu.Lock()
	a, ok := s.units[name]
	s.mu.Unlock()
	if ok {
		return a.unit, a.err
	}
	u, err := s.Host.Unit(ctx, name)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return u, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.units == nil {
		s.units = map[string]unitAnswer{}
	}
	s.units[name] = unitAnswer{u, err}
	return u, err
}

// memo keeps answers by path. A path whose read hangs holds up only those who ask for it.
type memo[T any] struct {
	mu      sync.Mutex
	answers map[string]*memoAnswer[T]
}

type memoAnswer[T any] struct {
	once  sync.Once
	value T
	err   error
}

var errPanicked = errors.New("the first to ask for it panicked")

func (m *memo[T]) get(p string, ask func(string) (T, error)) (T, error) {
	m.mu.Lock()
	a, ok := m.answers[p]
	if !ok {
		a = &memoAnswer[T]{err: errPanicked} // whoever comes after a panic is not to take nothing for an answer
		if m.answers == nil {
			m.answers = map[string]*memoAnswer[T]{}
		}
		m.answers[p] = a
	}
	m.mu.Unlock()
	a.once.Do(func() { a.value, a.err = ask(p) })
	return a.value, a.err
}
