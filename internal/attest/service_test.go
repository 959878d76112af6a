package attest_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/attest"
	"github.com/strongroom/strongroom/internal/attest/attesttest"
)

func listen(t *testing.T) (*net.UnixListener, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "attest")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, path
}

func TestServe(t *testing.T) {
	l, path := listen(t)
	tpm := attesttest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	refuse := errors.New("the TPM is busy")
	go func() {
		ended <- attest.Serve(ctx, l, time.Hour, func(nonce attest.Hex, report []byte) ([]byte, error) {
			if len(report) == 0 {
				return nil, refuse
			}
			d, err := attest.Quote(tpm, nonce, report)
			if err != nil {
				return nil, err
			}
			return d.Marshal()
		})
	}()
	text, err := attest.Ask(t.Context(), path, nonce, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := attest.Parse(text)
	if err != nil || !bytes.Equal(d.Nonce, nonce) || string(d.Report) != "{}" {
		t.Errorf("answered %s, error %v", text, err)
	}
	if _, err := attest.Ask(t.Context(), path, nonce, nil); err == nil || err.Error() != refuse.Error() {
		t.Errorf("the refusal came as %v", err)
	}
	// Garbage is answered, and the next question too.
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("garbage")); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 1000)
	n, err := conn.Read(answer)
	if err != nil || !strings.Contains(string(answer[:n]), "error") {
		t.Errorf("garbage is answered with %q, error %v", answer[:n], err)
	}
	conn.Close()
	if _, err := attest.Ask(t.Context(), path, nonce, []byte("{}")); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := attest.Ask(t.Context(), path, nonce, []byte("{}")); err == nil {
		t.Error("somebody answers after the end")
	}
}

func TestServeEndsWhenNobodyAsks(t *testing.T) {
	l, _ := listen(t)
	if err := attest.Serve(t.Context(), l, time.Millisecond, nil); err != nil {
		t.Error(err)
	}
}
