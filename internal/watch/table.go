package watch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
)

// table listens to a file of /proc that can be polled. The kernel wakes who waits for it when its content changes, by an
// event of the kind that poll(2) calls POLLERR | POLLPRI; Go's poller takes that for readable.
func table(path string) source {
	return func(ctx context.Context, ready, changed func()) error {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		stop := context.AfterFunc(ctx, func() { file.Close() })
		defer stop()
		defer file.Close()
		raw, err := file.SyscallConn()
		if err != nil {
			return fmt.Errorf("cannot wait for a change of %s: %w", path, err)
		}
		// The poller wakes once for nothing, and whenever the kernel says so: the content decides.
		var before []byte
		var failed error
		err = raw.Read(func(uintptr) bool {
			// At an offset, so that the descriptor is read from the start each time.
			hash := sha256.New()
			if _, failed = io.Copy(hash, io.NewSectionReader(file, 0, 1<<30)); failed != nil {
				return true
			}
			now := hash.Sum(nil)
			switch {
			case before == nil:
				ready()
			case !bytes.Equal(before, now):
				changed()
			}
			before = now
			return false
		})
		if failed != nil {
			err = failed
		}
		return fmt.Errorf("cannot wait for a change of %s: %w", path, err)
	}
}
