package supervisor

import (
	"encoding/json"
	"io"
	"sync"

	"github.com/strongroom/strongroom/internal/lab"
)

// Verb is what a command asks of the supervisor.
type Verb string

// The verbs. Those with a node act on one.
const (
	Status   Verb = "status"
	Down     Verb = "down"
	Env      Verb = "env"
	Kill     Verb = "kill"     // node
	Start    Verb = "start"    // node
	Cut      Verb = "cut"      // node
	Heal     Verb = "heal"     // node, or all
	Replace  Verb = "replace"  // node
	PowerOff Verb = "poweroff" // node
)

// request is the one line that a client sends. On the connection of `up` it is sent when the lab shall stay.
type request struct {
	Verb Verb   `json:"verb"`
	Node string `json:"node,omitempty"`
}

// Reply is a line that the supervisor sends: progress, or in the last one what it came to.
type Reply struct {
	Line   string       `json:"line,omitempty"` // for the user to read
	Done   bool         `json:"done,omitempty"`
	Error  string       `json:"error,omitempty"`
	Status *lab.Status  `json:"status,omitempty"`
	Env    *Environment `json:"env,omitempty"`
}

// Environment is what a client of the cluster's API needs.
type Environment struct {
	Address string `json:"address"` // https://127.0.0.1:PORT, of the leader or else of a node that is up
	CA      string `json:"ca"`      // file
	Token   string `json:"token"`   // root
}

// lines sends replies over a connection, one line each.
type lines struct {
	mu      sync.Mutex
	encoder *json.Encoder
}

func newLines(w io.Writer) *lines { return &lines{encoder: json.NewEncoder(w)} }

func (l *lines) send(r Reply) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.encoder.Encode(r)
}

// Write sends text for the user: it makes lines a sink of a log.
func (l *lines) Write(p []byte) (int, error) {
	l.send(Reply{Line: string(p)}) // who has gone does not read
	return len(p), nil
}

// sinks is a writer with writers that come and go.
type sinks struct {
	mu      sync.Mutex
	writers map[io.Writer]struct{}
}

func newSinks() *sinks { return &sinks{writers: map[io.Writer]struct{}{}} }

func (s *sinks) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.writers {
		w.Write(p)
	}
	return len(p), nil
}

// add lets w hear too, until the returned function is called.
func (s *sinks) add(w io.Writer) (remove func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writers[w] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.writers, w)
	}
}
