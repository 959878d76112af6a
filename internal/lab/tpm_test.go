package lab

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// swtpm remembers what it was, and goes when it is told to.
func TestTPM(t *testing.T) {
	dir := t.TempDir()
	tpm, err := NewTPM(dir)
	if err != nil {
		t.Fatal(err)
	}
	if other, err := NewTPM(dir); err != nil || other.Dir == tpm.Dir {
		t.Fatalf("a second TPM is %+v, error %v; want one of its own", other, err)
	}
	var memory []byte
	for range 2 {
		end, stop, err := tpm.start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		initialise(t, end)
		state, err := os.ReadFile(filepath.Join(tpm.Dir, "tpm2-00.permall"))
		if err != nil {
			t.Fatal(err)
		}
		if memory != nil && !bytes.Equal(state, memory) {
			t.Error("the second start is another TPM")
		}
		memory = state
		stop()
		if _, err := end.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("swtpm lives on: %v", err)
		}
		end.Close()
	}
}

// initialise sends CMD_INIT (2, without flags), as QEMU does before the guest runs.
func initialise(t *testing.T, end *os.File) {
	t.Helper()
	if _, err := end.Write([]byte{0, 0, 0, 2, 0, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 4)
	if _, err := end.Read(answer); err != nil || string(answer) != "\x00\x00\x00\x00" {
		t.Fatalf("CMD_INIT: answer %x, error %v", answer, err)
	}
}
