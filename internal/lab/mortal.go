package lab

import (
	"os/exec"
	"runtime"
	"syscall"
)

// startMortal starts a process that dies with the lab, even when the lab is killed, and gives ended what waiting for it
// came to.
//
// The signal is sent when the thread that started the process ends, and Go ends threads whose goroutine was locked to
// them; so the goroutine keeps its thread until the process has ended.
func startMortal(cmd *exec.Cmd, ended func(error)) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended(cmd.Wait())
		}
	}()
	return <-started
}
