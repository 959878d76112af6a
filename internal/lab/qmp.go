package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
)

// monitor is a client of the QEMU Machine Protocol: JSON commands over a socket, one
// outstanding at a time, with events in between.
type monitor struct {
	conn    net.Conn
	encoder *json.Encoder

	turn    sync.Mutex // one command at a time
	serial  int
	replies chan monitorMessage
	closed  chan struct{} // the reader has ended
}

// monitorMessage is every message that QEMU sends: a greeting, a reply or an event.
type monitorMessage struct {
	Greeting json.RawMessage `json:"QMP"`
	ID       int             `json:"id"`
	Return   json.RawMessage `json:"return"`
	Error    *monitorError   `json:"error"`
	Event    string          `json:"event"`
	Data     json.RawMessage `json:"data"`
}

type monitorError struct {
	Class       string `json:"class"`
	Description string `json:"desc"`
}

func (e *monitorError) Error() string { return e.Class + ": " + e.Description }

var errMonitorClosed = errors.New("the QEMU monitor is closed")

// newMonitor negotiates over a connection to QEMU. Events are given to onEvent in order, from one goroutine.
func newMonitor(ctx context.Context, conn net.Conn, onEvent func(name string, data json.RawMessage)) (*monitor, error) {
	m := &monitor{conn: conn, encoder: json.NewEncoder(conn), replies: make(chan monitorMessage), closed: make(chan struct{})}
	go m.read(onEvent)
	if err := m.execute(ctx, "qmp_capabilities", nil, nil); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func (m *monitor) read(onEvent func(string, json.RawMessage)) {
	defer close(m.closed)
	decoder := json.NewDecoder(m.conn)
	for {
		var message monitorMessage
		if err := decoder.Decode(&message); err != nil {
			return // QEMU has gone; the machine says why
		}
		switch {
		case message.Event != "":
			onEvent(message.Event, message.Data)
		case message.Greeting == nil:
			m.replies <- message
		}
	}
}

// execute runs one command and decodes what it returns into result, which may be nil.
func (m *monitor) execute(ctx context.Context, command string, arguments, result any) error {
	m.turn.Lock()
	defer m.turn.Unlock()
	m.serial++
	request := map[string]any{"execute": command, "id": m.serial}
	if arguments != nil {
		request["arguments"] = arguments
	}
	if err := m.encoder.Encode(request); err != nil {
		return fmt.Errorf("cannot send %s to QEMU: %w", command, err)
	}
	for {
		select {
		case reply := <-m.replies:
			if reply.ID != m.serial {
				continue // the answer to a command that was given up
			}
			if reply.Error != nil {
				return fmt.Errorf("QEMU refuses %s: %w", command, reply.Error)
			}
			if result == nil {
				return nil
			}
			return json.Unmarshal(reply.Return, result)
		case <-m.closed:
			return fmt.Errorf("cannot run %s: %w", command, errMonitorClosed)
		case <-ctx.Done():
			return fmt.Errorf("no answer from QEMU to %s: %w", command, context.Cause(ctx))
		}
	}
}

// Close ends the connection and the reader.
func (m *monitor) Close() error {
	err := m.conn.Close()
	for {
		select {
		case <-m.replies: // a late answer nobody waits for must not hold the reader
		case <-m.closed:
			return err
		}
	}
}
