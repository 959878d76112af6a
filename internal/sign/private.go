package sign

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
)

// OpenKey opens the private key that reference names. What comes back says nothing about where the key lies: today reference
// is the path of a PEM file, or a key of a transit engine ("vault:MOUNT/KEY"); a PKCS#11 token ("pkcs11:…") or a key of another KMS becomes one
// more case here, and whoever signs does not change.
func OpenKey(reference string) (crypto.Signer, error) {
	if IsTransit(reference) {
		key, err := openTransit(reference)
		if err != nil {
			return nil, err
		}
		return key, nil
	}
	for _, scheme := range []string{"pkcs11:", "awskms:", "azurekms:", "gcpkms:"} {
		if strings.HasPrefix(reference, scheme) {
			return nil, fmt.Errorf("keys of %s are not supported yet: name a PEM file", strings.TrimSuffix(scheme, ":"))
		}
	}
	text, err := os.ReadFile(reference)
	if err != nil {
		return nil, fmt.Errorf("cannot read the private key: %w", err)
	}
	key, err := ParseKey(text)
	if err != nil {
		return nil, fmt.Errorf("cannot read the private key %s: %w", reference, err)
	}
	return key, nil
}

// ParseKey reads the one private key of a PEM file: PKCS #8, PKCS #1 or SEC 1, without a passphrase. No error repeats
// anything of the file.
func ParseKey(text []byte) (crypto.Signer, error) {
	var found crypto.Signer
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue // certificates may lie in the same file
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return nil, errors.New("it is protected by a passphrase: give one without (openssl pkey -in key.pem -out open.pem), in a place that only the bake can read")
		}
		if found != nil {
			return nil, errors.New("there is more than one key in it")
		}
		key, err := parsePrivate(block)
		if err != nil {
			return nil, err
		}
		found = key
	}
	if found == nil {
		return nil, errors.New("there is no private key in PEM form in it")
	}
	return found, nil
}

func parsePrivate(block *pem.Block) (crypto.Signer, error) {
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("a key of type %q is not known", block.Type)
	}
	if err != nil {
		return nil, errors.New("the key is damaged") // what the parser says could repeat some of it
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("the key cannot sign")
	}
	return signer, nil
}
