package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/check/checktest"
)

// TestInterrupt stops a check that waits for a systemd which never answers.
func TestInterrupt(t *testing.T) {
	j, err := checktest.Compile(t, checktest.Profile()).JSON()
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]syscall.Signal{"SIGINT": syscall.SIGINT, "SIGTERM": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			root, err := os.MkdirTemp("", "host") // short: the path of a socket has 107 bytes
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(root) })
			baseline := filepath.Join(root, "baseline.json")
			if err := errors.Join(os.WriteFile(baseline, j, 0o644), os.MkdirAll(filepath.Join(root, "run/systemd"), 0o755)); err != nil {
				t.Fatal(err)
			}
			systemd, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(root, "run/systemd/private")})
			if err != nil {
				t.Fatal(err)
			}
			defer systemd.Close()

			cmd := exec.Command("hostcheck", "verify", "--stage", "boot", "--root", root, "--baseline", baseline)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			systemd.SetDeadline(time.Now().Add(10 * time.Second))
			conn, err := systemd.Accept()
			if err != nil {
				cmd.Process.Kill()
				cmd.Wait()
				t.Fatalf("hostcheck did not ask systemd: %v", err)
			}
			defer conn.Close()
			started := time.Now()
			if err := cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
				t.Errorf("exit code %d, want %d", code, exitInterrupted)
			}
			// The time-out of a control would end it as well, and later.
			if waited := time.Since(started); waited > 3*time.Second {
				t.Errorf("ended %v after the signal", waited)
			}
		})
	}
}
