package host

import (
	"sync"
	"time"
)

// Memory keeps answers that cost the server something, from one run of the checks to the next: an agent that
// looks every ten seconds would fill the server's log with refused handshakes and its audit log with questions. Only
// answers are kept, and not for longer than MemoryTime; what could not be asked is asked again. The zero value is usable.
type Memory struct {
	mu      sync.Mutex
	answers map[string]remembered
}

// MemoryTime is how old an answer may be.
const MemoryTime = 5 * time.Minute

type remembered struct {
	value any
	at    time.Time
}

// remember gives an answer that is young enough, or asks. A nil memory always asks.
func remember[T any](m *Memory, key string, ask func() (T, error)) (T, error) {
	if m == nil {
		return ask()
	}
	m.mu.Lock()
	have, ok := m.answers[key]
	m.mu.Unlock()
	if value, fits := have.value.(T); ok && fits && time.Since(have.at) < MemoryTime {
		return value, nil
	}
	value, err := ask()
	if err != nil {
		return value, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.answers == nil {
		m.answers = map[string]remembered{}
	}
	m.answers[key] = remembered{value, time.Now()}
	return value, nil
}
