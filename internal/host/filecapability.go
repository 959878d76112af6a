package host

import (
	"encoding/hex"
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

// fileCapability is the name of the extended attribute. Its largest form has 24 bytes.
const fileCapability = "security.capability"

// FileCapability implements Host. The file is opened for reading and not only as a path: a descriptor of a
// path has no extended attributes, and /proc/self/fd is not there in every sandbox.
func (r root) FileCapability(p string) (string, error) {
	info, err := r.Lstat(p)
	if err != nil {
		return "", err
	}
	if !info.Mode.IsRegular() {
		return "", nil // the kernel looks at it when it executes a file, which only a regular one can be
	}
	fd, err := r.open("open", p, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_NOFOLLOW)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var value [64]byte
	n, err := unix.Fgetxattr(fd, fileCapability, value[:])
	switch {
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.EOPNOTSUPP):
		return "", nil
	case err != nil:
		return "", &fs.PathError{Op: "getxattr " + fileCapability, Path: p, Err: err}
	}
	return hex.EncodeToString(value[:n]), nil
}

// FileCapability implements Host.
func (r *Recorder) FileCapability(path string) (string, error) {
	return recorded(r, "FileCapability", path, func() (string, error) { return r.host.FileCapability(path) })
}

// FileCapability implements Host.
func (r *Recording) FileCapability(path string) (string, error) {
	return replayed[string](r, "FileCapability", path)
}
