package cluster

import (
	"strconv"
	"strings"
)

// release reads the first two numbers of a server's version: "1.21.1+ent" → 1, 21.
func release(version string) (major, minor int, ok bool) {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) < 2 {
		return 0, 0, false
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return major, minor, err1 == nil && err2 == nil && major >= 0 && minor >= 0
}

// older reports whether a is of an older release than b. A server that is older than the leader may not understand what the
// leader has already written; a newer one is how a cluster is upgraded. Patch releases understand one another. What hides
// its version (redact_version) cannot be compared.
func older(a, b string) bool {
	aMajor, aMinor, ok1 := release(a)
	bMajor, bMinor, ok2 := release(b)
	return ok1 && ok2 && (aMajor < bMajor || aMajor == bMajor && aMinor < bMinor)
}
