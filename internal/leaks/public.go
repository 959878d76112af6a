package leaks

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
)

// isPublic knows secrets that everybody has: keys that a library tests itself with at every start, and the example of a manual.
func isPublic(secret []byte) bool {
	if bytes.Contains(secret, []byte(exampleToken)) {
		return true
	}
	s := sha256.Sum256(secret)
	return publicKeys[hex.EncodeToString(s[:8])]
}

// exampleToken is the payload of the token on jwt.io, which programs have in their help: {"sub":"1234567890","name":"John Doe".
const exampleToken = "eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIi"

// publicKeys are by the first half of the SHA-256 of the key's text: those in the self-test of GnuTLS (lib/crypto-selftests-pk.c).
var publicKeys = map[string]bool{
	"fed7079dd4491609": true, // Ed448
	"5a09eb5df3674472": true, // Ed25519
	"a4d138d7ef974846": true, // GOST R 34.10-2012, 512 bits
	"fa0b06a72461ec0a": true, // GOST R 34.10-2012, 256 bits
	"ef237ea8db4f2ae9": true, // GOST R 34.10-2001
	"f8766749b0c6f9b5": true, // P-521
	"293216817f0d585f": true, // P-384
	"a0b9679665e29ac2": true, // P-224
	"934b3e9bfd9936c5": true, // P-192
	"91ea1699ff6b1a34": true, // P-256
	"7c4c63ee462e0e70": true, // DSA
	"d039c8119a029ab9": true, // RSA
}
