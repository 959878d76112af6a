package bootstrap

import (
	"bytes"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// pgpEntity makes a key as gpg would.
func pgpEntity(t testing.TB, c *packet.Config, change func(*openpgp.Entity)) (*openpgp.Entity, []byte) {
	t.Helper()
	e, err := openpgp.NewEntity("holder", "", "holder@example.net", c)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(e)
	}
	var b bytes.Buffer
	if err := e.Serialize(&b); err != nil {
		t.Fatal(err)
	}
	return e, b.Bytes()
}

// A key is taken when the library would encrypt to it, and no other.
func TestMayEncrypt(t *testing.T) {
	now := time.Now()
	rsa := packet.Config{Algorithm: packet.PubKeyAlgoRSA, RSABits: 2048}
	curve := packet.Config{Algorithm: packet.PubKeyAlgoEdDSA}
	long := func() time.Time { return now.Add(-30 * 24 * time.Hour) }
	for name, c := range map[string]struct {
		config packet.Config
		change func(*openpgp.Entity)
		want   bool
	}{
		"RSA":                   {rsa, nil, true},
		"a curve":               {curve, nil, true},
		"version 6":             {packet.Config{Algorithm: packet.PubKeyAlgoEd25519, V6Keys: true}, nil, true},
		"lives on":              {packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: long, KeyLifetimeSecs: 60 * 24 * 3600}, nil, true},
		"expired":               {packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: long, KeyLifetimeSecs: 3600}, nil, false},
		"from the future":       {packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return now.Add(48 * time.Hour) }}, nil, false},
		"signs only":            {rsa, func(e *openpgp.Entity) { e.Subkeys = nil }, false},
		"revoked":               {curve, func(e *openpgp.Entity) { must(t, e.RevokeKey(packet.KeyCompromised, "", nil)) }, false},
		"the subkey is revoked": {curve, func(e *openpgp.Entity) { must(t, e.RevokeSubkey(&e.Subkeys[0], packet.KeyCompromised, "", nil)) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, b := pgpEntity(t, &c.config, c.change)
			now := time.Now().Add(time.Minute)
			err := mayEncrypt(b, now)
			if (err == nil) != c.want {
				t.Errorf("got %v", err)
			}
			again, readErr := openpgp.ReadEntity(packet.NewReader(bytes.NewReader(b)))
			if readErr != nil {
				t.Fatal(readErr)
			}
			if _, takes := again.EncryptionKey(now); takes != c.want {
				t.Errorf("the library says %t", takes)
			}
			for i := range b {
				_ = mayEncrypt(b[:i], now)
			}
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func FuzzMayEncrypt(f *testing.F) {
	_, b := pgpEntity(f, &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA}, nil)
	f.Add(b)
	f.Add([]byte{0xc6, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0x99, 0, 6, 4, 0, 0, 0, 0, 1})
	f.Fuzz(func(_ *testing.T, b []byte) { _ = mayEncrypt(b, time.Unix(1800000000, 0)) })
}
