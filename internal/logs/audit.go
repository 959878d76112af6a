package logs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// AuditFile is the name of the file device's file in its directory.
const AuditFile = "audit.log"

// Audit is how the file device of the audit log fares, as the file system tells. What is in the file is not read.
type Audit struct {
	Size, Available uint64    // bytes of its file system, and those that the server may still use
	Written         time.Time // the last entry; zero: there is no file
}

// LookAtAudit looks at the directory of the file device.
func LookAtAudit(directory string) (Audit, error) {
	var fsInfo unix.Statfs_t
	if err := unix.Statfs(directory, &fsInfo); err != nil {
		return Audit{}, fmt.Errorf("cannot see how much room the audit log has: %s: %w", directory, err)
	}
	a := Audit{Size: fsInfo.Blocks * uint64(fsInfo.Bsize), Available: fsInfo.Bavail * uint64(fsInfo.Bsize)}
	info, err := os.Stat(filepath.Join(directory, AuditFile))
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err != nil {
		return a, fmt.Errorf("cannot see when the audit log was written: %w", err)
	}
	a.Written = info.ModTime()
	return a, nil
}
