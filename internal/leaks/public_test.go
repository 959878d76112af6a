package leaks

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"testing/fstest"
)

// A secret that everybody has is none, by whichever rule it is seen; one character of it changed, it is one again.
func TestPublic(t *testing.T) {
	key := "-----BEGIN PRIVATE KEY-----\n" + strings.Repeat("MC4CAQAwBQYDK2VwBCIEIH4WeqmZGZQl\n", 3) + "-----END PRIVATE KEY-----"
	s := sha256.Sum256([]byte(key))
	id := hex.EncodeToString(s[:8])
	publicKeys[id] = true
	defer delete(publicKeys, id)
	for text, want := range map[string]int{key: 0, strings.Replace(key, "ZQl", "ZQk", 1): 1, "x\n" + key + "\n" + pretend("ghp_", 36): 1} {
		found, err := Scan(t.Context(), fstest.MapFS{"usr/lib/lib.so": {Data: []byte("\x00" + text + "\x00")}}, nil)
		if err != nil || len(found) != want {
			t.Errorf("%q: %v, error %v; want %d", text, found, err, want)
		}
	}
}

func pretend(prefix string, n int) string {
	return prefix + strings.Repeat("q7Rz0kV3nT8yW5uB2xC9", 3)[:n]
}
