// Package attesttest gives tests a TPM: swtpm, a new one for each.
package attesttest

import (
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// New starts a TPM that has just been switched on. It ends with the test.
func New(t testing.TB) io.ReadWriter {
	t.Helper()
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(ends[0]), "tpm"), os.NewFile(uintptr(ends[1]), "tpm")
	defer ours.Close() // FileConn has one of its own
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "swtpm", "socket", "--tpm2", "--fd", "3", "--tpmstate", "dir=.", "--flags", "not-need-init,startup-clear")
	cmd.Dir = t.TempDir() // whose name may have commas
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v\nhint: install what is missing with `make deps`", err)
	}
	t.Cleanup(func() {
		conn.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return conn
}

// Extend measures something into a register.
func Extend(t testing.TB, tpm io.ReadWriter, pcr int, digest [32]byte) {
	t.Helper()
	_, err := tpm2.PCRExtend{
		PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(pcr), Auth: tpm2.PasswordAuth(nil)},
		Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: digest[:]}}},
	}.Execute(transport.FromReadWriter(tpm))
	if err != nil {
		t.Fatal(err)
	}
}

// Define puts content at an index that everybody can read, as makers put certificates.
func Define(t testing.TB, tpm io.ReadWriter, index tpm2.TPMHandle, content []byte) {
	t.Helper()
	public := tpm2.New2B(tpm2.TPMSNVPublic{
		NVIndex: index, NameAlg: tpm2.TPMAlgSHA256, DataSize: uint16(len(content)),
		Attributes: tpm2.TPMANV{OwnerWrite: true, AuthRead: true, OwnerRead: true, NoDA: true},
	})
	if _, err := (tpm2.NVDefineSpace{AuthHandle: tpm2.TPMRHOwner, PublicInfo: public}).Execute(transport.FromReadWriter(tpm)); err != nil {
		t.Fatal(err)
	}
	described, err := tpm2.NVReadPublic{NVIndex: index}.Execute(transport.FromReadWriter(tpm))
	if err != nil {
		t.Fatal(err)
	}
	const step = 512
	for offset := 0; offset < len(content); offset += step {
		_, err := tpm2.NVWrite{
			AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
			NVIndex:    tpm2.NamedHandle{Handle: index, Name: described.NVName},
			Data:       tpm2.TPM2BMaxNVBuffer{Buffer: content[offset:min(offset+step, len(content))]},
			Offset:     uint16(offset),
		}.Execute(transport.FromReadWriter(tpm))
		if err != nil {
			t.Fatal(err)
		}
	}
}
