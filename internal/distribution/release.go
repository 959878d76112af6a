package distribution

import (
	"fmt"
	"slices"
	"strings"
)

// Detect gives the distribution of a machine from the text of its os-release(5). The error names what the machine says that
// it is, and what is known.
func Detect(osRelease string) (Distribution, error) {
	var id, version, pretty string
	for line := range strings.Lines(osRelease) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.Trim(value, `"'`)
		switch key {
		case "ID":
			id = value
		case "VERSION_ID":
			version = value
		case "PRETTY_NAME":
			pretty = value
		}
	}
	for _, d := range All() {
		if slices.Contains(d.ReleaseIDs, id) && (version == d.Version || strings.HasPrefix(version, d.Version+".")) {
			return d, nil
		}
	}
	var known []string
	for _, d := range All() {
		known = append(known, d.Name)
	}
	return Distribution{}, fmt.Errorf("os-release says %q (ID %q, VERSION_ID %q), which is not one of %s", pretty, id, version, strings.Join(known, ", "))
}
