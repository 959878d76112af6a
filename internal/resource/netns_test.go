package resource_test

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// inFreshNetns runs the test on a thread with an empty network namespace of its own. The thread is
// never unlocked, so that the runtime ends it with the goroutine.
func inFreshNetns(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED, NOTHING WAS PROVEN: a network namespace needs root; run `make test` as root")
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("cannot make a network namespace: %v", err)
	}
}
