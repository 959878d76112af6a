package bootstrap

import (
	"encoding/binary"
	"errors"
	"time"
)

// The server notices only after it has initialised itself that a key cannot encrypt, and has lost everything then. So the key is looked at before. This
// reads no more than that from it (RFC 9580): what the key is worth is its holder's to know, and the encryption is the server's. A library for OpenPGP
// costs every verb of hostcheck 1.1 MiB (docs/decisions/small-agent.md); the tests hold this against one.

// pgpKey is a key or subkey, with what the signatures on it say.
type pgpKey struct {
	algorithm byte
	created   time.Time
	life      uint32 // seconds; 0: for ever
	flags     byte
	revoked   bool
}

// What key flags and algorithms mean.
const (
	pgpMayEncrypt    = 0x04 | 0x08
	pgpPublicKey     = 6
	pgpPublicSubkey  = 14
	pgpSignature     = 2
	pgpKeyExpiration = 9
	pgpKeyFlags      = 27
)

var errNotPGP = errors.New("it is not the binary form of a public key of OpenPGP")

// mayEncrypt says why nobody can encrypt to an OpenPGP key; nil: one can.
func mayEncrypt(key []byte, now time.Time) error {
	var keys []pgpKey
	for len(key) > 0 {
		tag, body, rest, ok := pgpPacket(key)
		if !ok {
			return errNotPGP
		}
		key = rest
		switch tag {
		case pgpPublicKey, pgpPublicSubkey:
			if len(body) < 6 || (tag == pgpPublicKey) != (len(keys) == 0) {
				return errNotPGP // or more than one key
			}
			keys = append(keys, pgpKey{algorithm: body[5], created: time.Unix(int64(binary.BigEndian.Uint32(body[1:])), 0)})
		case pgpSignature:
			if len(keys) == 0 || !keys[len(keys)-1].signed(&keys[0], body) {
				return errNotPGP
			}
		}
	}
	if len(keys) == 0 {
		return errNotPGP
	}
	if keys[0].revoked || keys[0].expired(now) {
		return errors.New("it has expired, or was revoked")
	}
	for _, k := range keys {
		if k.flags&pgpMayEncrypt != 0 && k.encrypts() && !k.revoked && !k.expired(now) {
			return nil
		}
	}
	return errors.New("it has no key to encrypt to that is valid now")
}

func (k pgpKey) expired(now time.Time) bool {
	return k.created.After(now) || k.life != 0 && k.created.Add(time.Duration(k.life)*time.Second).Before(now)
}

// encrypts reports whether the algorithm can: RSA, Elgamal, ECDH, X25519, X448.
func (k pgpKey) encrypts() bool {
	switch k.algorithm {
	case 1, 2, 16, 18, 25, 26:
		return true
	}
	return false
}

// signed takes in what a signature says of the key before it, or of the primary one.
func (k *pgpKey) signed(primary *pgpKey, body []byte) bool {
	if len(body) < 8 || body[0] != 4 && body[0] != 6 {
		return len(body) > 0 && body[0] < 4 // an old one, which says nothing of flags
	}
	size, at := int(binary.BigEndian.Uint16(body[4:])), 6
	if body[0] == 6 {
		size, at = int(binary.BigEndian.Uint32(body[4:])), 8
	}
	if size < 0 || size > len(body)-at {
		return false
	}
	about := k
	switch kind := body[1]; {
	case kind >= 0x10 && kind <= 0x13, kind == 0x1f:
		about = primary
	case kind == 0x18:
	case kind == 0x20:
		primary.revoked = true
		return true
	case kind == 0x28:
		k.revoked = true
		return true
	default:
		return true
	}
	for said := body[at : at+size]; len(said) > 0; {
		n, used, ok := pgpLength(said)
		if !ok || n < 1 || n > len(said)-used {
			return false
		}
		kind, value := said[used]&0x7f, said[used+1:used+n]
		said = said[used+n:]
		switch {
		case kind == pgpKeyFlags && len(value) > 0:
			about.flags |= value[0]
		case kind == pgpKeyExpiration && len(value) == 4:
			about.life = binary.BigEndian.Uint32(value)
		}
	}
	return true
}

// pgpPacket cuts off the first packet. A partial length has no place in a key.
func pgpPacket(b []byte) (tag byte, body, rest []byte, ok bool) {
	if b[0]&0x80 == 0 || len(b) < 2 {
		return 0, nil, nil, false
	}
	var n, used int
	if b[0]&0x40 != 0 {
		tag = b[0] & 0x3f
		n, used, ok = pgpLength(b[1:])
	} else {
		tag = b[0] >> 2 & 0xf
		used = []int{1, 2, 4, 0}[b[0]&3]
		if ok = used > 0 && len(b) > used; ok {
			for _, c := range b[1 : 1+used] {
				n = n<<8 | int(c)
			}
		}
	}
	used++
	if !ok || n < 0 || n > len(b)-used {
		return 0, nil, nil, false
	}
	return tag, b[used : used+n], b[used+n:], true
}

// pgpLength reads a length of one, two or five octets.
func pgpLength(b []byte) (n, used int, ok bool) {
	switch {
	case len(b) == 0:
		return 0, 0, false
	case b[0] < 192:
		return int(b[0]), 1, true
	case b[0] < 224 && len(b) > 1:
		return int(b[0]-192)<<8 + int(b[1]) + 192, 2, true
	case b[0] == 255 && len(b) > 4:
		return int(binary.BigEndian.Uint32(b[1:])), 5, true
	}
	return 0, 0, false
}
