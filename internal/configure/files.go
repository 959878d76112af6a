package configure

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/strongroom/strongroom/internal/node"
)

// owner is root with the group of an account that may read: the account can use its
// configuration and key, and cannot change them.
type owner struct{ uid, gid int }

// lookupOwner reads the accounts of a root tree. os/user would read those of the machine
// that runs the program, and may ask name services over the network.
func lookupOwner(etc, group string) (owner, error) {
	uid, err := field(filepath.Join(etc, "passwd"), "root", 2)
	if err != nil {
		return owner{}, err
	}
	gid, err := field(filepath.Join(etc, "group"), group, 2)
	return owner{uid, gid}, err
}

// field reads a number from the line of a name in a file of colon-separated fields.
func field(path, name string, index int) (int, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("cannot look up %s: %w", name, err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(content)); lines.Scan(); {
		fields := strings.Split(lines.Text(), ":")
		if fields[0] != name || len(fields) <= index {
			continue
		}
		n, err := strconv.ParseUint(fields[index], 10, 31)
		if err != nil {
			return 0, fmt.Errorf("cannot look up %s: %s: field %d is not a number", name, path, index+1)
		}
		return int(n), nil
	}
	return 0, fmt.Errorf("cannot look up %s: not in %s", name, path)
}

// directory makes a directory that the group can enter, or corrects one that is there.
func (o owner) directory(path string) error {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot make directory: %w", err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("cannot make directory %s: something else is there", path)
	}
	if err := os.Lchown(path, o.uid, o.gid); err != nil {
		return fmt.Errorf("cannot hand over: %w", err)
	}
	if err := os.Chmod(path, 0o750); err != nil {
		return fmt.Errorf("cannot hand over: %w", err)
	}
	return nil
}

// file writes a file that the group can read. Readers see the old content or the new one, and
// never a file that more than the group can read.
func (o owner) file(path string, content []byte) error {
	err := replaceFile(path, content, func(f *os.File) error {
		if err := f.Chown(o.uid, o.gid); err != nil {
			return err
		}
		return f.Chmod(0o640)
	})
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return nil
}

// replaceFile puts a file in the place of another.
func replaceFile(path string, content []byte, attributes func(*os.File) error) error {
	tmp, err := writeTemporary(path, content, attributes)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		os.Remove(tmp)
		return err
	}
	return nil
}

// writeTemporary writes a synced file beside the path and gives its name.
func writeTemporary(path string, content []byte, attributes func(*os.File) error) (name string, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return "", err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(content); err != nil {
		return "", err
	}
	if err := attributes(f); err != nil {
		return "", err
	}
	return f.Name(), f.Sync()
}

// leaveMeasurements leaves the image's statement of measurements for whoever judges the node: systemd shows a service its own credentials
// and no others, and this one is no secret. What it says is not read here.
func (o Options) leaveMeasurements() error {
	content, err := os.ReadFile(filepath.Join(o.Credentials, node.CredentialMeasurements))
	if o.Credentials == "" || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = replaceFile(o.path("/run/hostcheck/"+node.CredentialMeasurements), content, func(f *os.File) error { return f.Chmod(0o644) })
	}
	if err != nil {
		return fmt.Errorf("cannot hand on the statement of measurements: %w", err)
	}
	return nil
}
