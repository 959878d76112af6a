package host

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// readModules takes a kernel that has /proc but no /proc/modules for what it is: one that was
// built without loadable modules, so that none is loaded.
func (l *LiveHost) readModules() ([]string, error) {
	b, err := l.ReadFile("/proc/modules")
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := l.Lstat("/proc/version"); err != nil {
			return nil, fmt.Errorf("cannot tell whether the kernel has modules: %w", err)
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseModules(b)
}

// parseModules reads /proc/modules, for which procfs has no reader.
func parseModules(b []byte) ([]string, error) {
	var out []string
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) < 5 {
			return nil, fmt.Errorf("cannot parse /proc/modules: line %q has fewer than 5 fields", line)
		}
		out = append(out, fields[0])
	}
	slices.Sort(out)
	return out, nil
}
