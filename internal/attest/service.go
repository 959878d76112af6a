package attest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// Socket is where hostcheck-attest.service answers the agent, which may not touch the TPM itself.
const Socket = "/run/hostcheck/attest"

// patience bounds one question. A TPM of its own chip makes a key and signs in about a second.
const patience = 12 * time.Second

// question is what the agent asks.
type question struct {
	Nonce  Hex    `json:"nonce"`
	Report []byte `json:"report"`
}

// reply is a document, or why there is none.
type reply struct {
	Document []byte `json:"document,omitempty"`
	Error    string `json:"error,omitempty"`
}

// Ask has the service behind a socket vouch for a report, and gives the document as it came.
func Ask(ctx context.Context, socket string, nonce Hex, report []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("cannot ask the TPM: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	if err := json.NewEncoder(conn).Encode(question{nonce, report}); err != nil {
		return nil, fmt.Errorf("cannot ask the TPM: %w", err)
	}
	var answer reply
	// Base64 within base64: a third more, twice.
	if err := json.NewDecoder(io.LimitReader(conn, 2*MaxDocument)).Decode(&answer); err != nil {
		return nil, fmt.Errorf("cannot ask the TPM: %w", err)
	}
	if answer.Error != "" {
		return nil, errors.New(answer.Error)
	}
	return answer.Document, nil
}

// Serve answers one after the other, until nobody has asked for a while or the context ends: systemd starts the service again
// when somebody does. Answer gives the document.
func Serve(ctx context.Context, l *net.UnixListener, idle time.Duration, answer func(nonce Hex, report []byte) ([]byte, error)) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		if err := l.SetDeadline(time.Now().Add(idle)); err != nil && ctx.Err() == nil {
			return fmt.Errorf("cannot serve attestations: %w", err)
		}
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return fmt.Errorf("cannot serve attestations: %w", err)
		}
		serveOne(conn, answer)
	}
}

func serveOne(conn net.Conn, answer func(Hex, []byte) ([]byte, error)) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience)) // one that does not read holds up nobody for longer
	var q question
	var r reply
	err := json.NewDecoder(io.LimitReader(conn, MaxDocument)).Decode(&q)
	if err == nil {
		r.Document, err = answer(q.Nonce, q.Report)
	}
	if err != nil {
		r = reply{Error: err.Error()}
	}
	_ = json.NewEncoder(conn).Encode(r)
}
