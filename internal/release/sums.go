package release

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// findSum looks up the first of names that a file of sha256sum lists. One that is listed with two digests is an error.
func findSum(text []byte, names []string) (name, sum string, err error) {
	found := map[string]string{}
	for i, line := range strings.Split(string(text), "\n") {
		if line = strings.TrimSuffix(line, "\r"); line == "" {
			continue
		}
		digest, file, ok := strings.Cut(line, " ")
		// The second space of sha256sum's format is a * for a file that was read as binary.
		file = strings.TrimPrefix(strings.TrimPrefix(file, " "), "*")
		raw, hexErr := hex.DecodeString(digest)
		if !ok || hexErr != nil || len(raw) != 32 || file == "" {
			return "", "", fmt.Errorf("line %d is not a SHA-256 and a file name", i+1)
		}
		if !slices.Contains(names, file) {
			continue
		}
		digest = strings.ToLower(digest)
		if before := found[file]; before != "" && before != digest {
			return "", "", fmt.Errorf("line %d: %s has two digests", i+1, file)
		}
		found[file] = digest
	}
	for _, n := range names {
		if found[n] != "" {
			return n, found[n], nil
		}
	}
	return "", "", errors.New("it does not list " + strings.Join(names, " or "))
}
