package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/control"
)

// TestColor shows colour on a terminal only, and there only to who wants it.
func TestColor(t *testing.T) {
	capture := filepath.Join(t.TempDir(), "node.json")
	checktest.WriteCapture(t, capture, checktest.Node(t, checktest.Compile(t, checktest.Profile())), control.StageBoot)
	verify := []string{"verify", "--stage", "boot", "--capture", capture}
	for name, c := range map[string]struct {
		args []string
		env  []string
		want bool
	}{
		"on a terminal":   {args: verify, env: []string{"TERM=xterm"}, want: true},
		"NO_COLOR":        {args: verify, env: []string{"TERM=xterm", "NO_COLOR=1"}},
		"no TERM":         {args: verify},
		"a dumb terminal": {args: verify, env: []string{"TERM=dumb"}},
		"JSON":            {args: append(slices.Clone(verify), "--format", "json"), env: []string{"TERM=xterm"}},
	} {
		t.Run(name, func(t *testing.T) {
			out := onTerminal(t, c.args, append(c.env, "PATH="+os.Getenv("PATH")))
			if !bytes.Contains(out, []byte("memory-swap-off")) {
				t.Fatalf("no report:\n%s", out)
			}
			if got := bytes.Contains(out, []byte("\x1b[")); got != c.want {
				t.Errorf("colour is %v, want %v:\n%.200s", got, c.want, out)
			}
		})
	}
	cmd := exec.Command("hostcheck", verify...)
	cmd.Env = []string{"TERM=xterm"}
	out, err := cmd.Output()
	if err != nil || len(out) == 0 || bytes.Contains(out, []byte("\x1b[")) {
		t.Errorf("through a pipe: error %v, output %.200q", err, out)
	}
	t.Setenv("TERM", "xterm")
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if wantsColor(null) {
		t.Error("/dev/null is taken for a terminal")
	}
}

// onTerminal runs hostcheck on a pseudo terminal and gives what it wrote.
func onTerminal(t *testing.T, args, env []string) []byte {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo terminals here: %v", err)
	}
	defer master.Close()
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("hostcheck", args...)
	cmd.Env, cmd.Stdout = env, slave
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	read := make(chan []byte, 1)
	go func() {
		out, _ := io.ReadAll(master) // ends with EIO when the last writer is gone
		read <- out
	}()
	err = cmd.Wait()
	select {
	case out := <-read:
		if err != nil {
			t.Fatalf("%v:\n%s", err, out)
		}
		return out
	case <-time.After(10 * time.Second):
		t.Fatal("the terminal stays open")
		return nil
	}
}
