// Package sign makes the signatures by which others know what this project has built. Where a key lies is behind one small
// interface: a file now; a KMS, Vault's transit or a PKCS#11 token can follow without a change for whoever signs.
package sign

import "io"

// Signer signs a message.
type Signer interface {
	// Sign writes a detached binary OpenPGP signature of message to w, as gpgv and `gpg --verify` take it. The same key and
	// message give the same bytes, if the key's algorithm allows it (Ed25519 and RSA do).
	Sign(w io.Writer, message io.Reader) error
	// Fingerprint is that of the primary key, in upper-case hex: what people compare.
	Fingerprint() string
}
