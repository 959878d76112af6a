package distribution

import (
	"fmt"
	"slices"
	"strings"
)

// ReadRelease reads the fields of an os-release(5); of one that is given twice, the last.
func ReadRelease(text string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			fields[key] = strings.Trim(value, `"'`)
		}
	}
	return fields
}

// Detect gives the distribution of a machine from the text of its os-release(5). The error names what the machine says that
// it is, and what is known.
func Detect(osRelease string) (Distribution, error) {
	fields := ReadRelease(osRelease)
	id, version, pretty := fields["ID"], fields["VERSION_ID"], fields["PRETTY_NAME"]
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
