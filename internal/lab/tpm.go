package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// TPM is the TPM 2.0 of one machine, played by swtpm. A machine that boots twice with the same TPM finds the keys and the
// counters that it left there; the PCRs begin anew with each start, as after a power cut.
type TPM struct {
	Dir string // what the chip remembers
}

// NewTPM makes a TPM that nobody has used, with seeds of its own. Its state goes with dir. It has no certificate of a maker.
func NewTPM(dir string) (*TPM, error) {
	state, err := os.MkdirTemp(dir, "tpm-")
	if err != nil {
		return nil, fmt.Errorf("cannot create a TPM: %w", err)
	}
	return &TPM{Dir: state}, nil
}

// start powers the TPM up and gives the end of its control channel that QEMU inherits. The channel is a socket pair: nothing
// of it is in the file system. swtpm ends when a QEMU that has used it ends in whatever way, with the lab, and by stop.
func (t *TPM) start(ctx context.Context) (end *os.File, stop func(), err error) {
	ours, theirs, err := socketPairFiles()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close()
	ctx, terminate := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, "swtpm", "socket", "--tpm2", "--terminate",
		"--tpmstate", "dir=.,mode=0600", "--ctrl", "type=unixio,clientfd=3")
	cmd.Dir = t.Dir // whose name may have commas
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it finishes what it writes
	cmd.WaitDelay = 5 * time.Second
	ended := make(chan struct{})
	if err := startMortal(cmd, func(error) { close(ended) }); err != nil {
		terminate()
		ours.Close()
		if errors.Is(err, exec.ErrNotFound) {
			return nil, nil, fmt.Errorf("%w\nhint: install what is missing with `make deps`", err)
		}
		return nil, nil, fmt.Errorf("cannot start swtpm: %w", err)
	}
	return ours, func() { terminate(); <-ended }, nil
}

// socketPairFiles are two ends for two processes that inherit them.
func socketPairFiles() (a, b *os.File, err error) {
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make a socket pair: %w", err)
	}
	return os.NewFile(uintptr(ends[0]), "socket pair"), os.NewFile(uintptr(ends[1]), "socket pair"), nil
}

// socketPair is a connection, and its other end for a process that inherits it.
func socketPair() (net.Conn, *os.File, error) {
	ours, theirs, err := socketPairFiles()
	if err != nil {
		return nil, nil, err
	}
	defer ours.Close() // FileConn has one of its own
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("cannot use a socket pair: %w", err)
	}
	return conn, theirs, nil
}

// tpmArguments attach a TPM whose control channel is inherited. The command response buffer is what TPM 2.0 machines
// have had for years, and its driver is in the initrd.
func tpmArguments() []string {
	return []string{
		"-chardev", "socket,id=tpm,fd=" + tpmDescriptor,
		"-tpmdev", "emulator,id=tpm0,chardev=tpm",
		"-device", "tpm-crb,tpmdev=tpm0",
	}
}
