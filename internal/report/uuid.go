package report

import (
	"crypto/sha1"
	"encoding/hex"
	"strings"
)

// namespace of the identifiers that reports hold: a random UUID that never changes.
var namespace = [16]byte{0x8e, 0x1c, 0x5a, 0x3f, 0x60, 0x2d, 0x4b, 0x7e, 0x9f, 0x14, 0xd2, 0x77, 0x0b, 0xc6, 0x35, 0xe9}

// identifier gives a UUID that depends on the parts alone (version 5, RFC 9562), so that the same report
// always converts to the same bytes.
func identifier(parts ...string) string {
	h := sha1.New()
	h.Write(namespace[:])
	h.Write([]byte(strings.Join(parts, "\x00")))
	id := h.Sum(nil)[:16]
	id[6] = id[6]&0x0f | 0x50
	id[8] = id[8]&0x3f | 0x80
	s := hex.EncodeToString(id)
	return strings.Join([]string{s[:8], s[8:12], s[12:16], s[16:20], s[20:]}, "-")
}
