package node

import (
	"bytes"
	"context"
	"errors"
)

// Material is the node's TLS identity.
type Material struct {
	Cert []byte // the node's certificate and its intermediates, PEM
	Key  Secret // PEM
	CA   []byte // the authorities that the cluster believes, PEM
	From TLSReferences
}

// Material reads the TLS material. What could be read is returned even beside an error. The authority comes first:
// when it is at hand, it may also have signed the certificate of the server that has the rest.
func (r Reader) Material(ctx context.Context, from TLSReferences) (Material, error) {
	m := Material{From: from}
	var caErr, certErr error
	m.CA, caErr = r.Read(ctx, from.CA, maxPEMSize)
	r = r.Believing(m.CA)
	m.Cert, certErr = r.Read(ctx, from.Cert, maxPEMSize)
	key, keyErr := r.Read(ctx, from.Key, maxPEMSize)
	m.Key = NewSecret(key)
	return m, errors.Join(certErr, keyErr, caErr)
}

// Bcrypt gives a hash as it stands, or reads a reference to one.
func (r Reader) Bcrypt(ctx context.Context, text string) (string, error) {
	if IsBcrypt(text) {
		return text, nil
	}
	ref := Reference(text)
	b, err := r.Read(ctx, ref, maxTokenSize)
	if err != nil {
		return "", err
	}
	hash := string(bytes.TrimSpace(b))
	if !IsBcrypt(hash) {
		return "", unusable(ref, Hinted(errors.New("it is no bcrypt hash"), "htpasswd -nB"))
	}
	return hash, nil
}

// Believing gives a reader that believes these authorities too.
func (r Reader) Believing(ca []byte) Reader {
	pool := r.Authorities
	if pool == nil {
		pool = imageAuthorities()
	}
	pool = pool.Clone()
	pool.AppendCertsFromPEM(ca)
	r.Authorities = pool
	return r
}

// Certificates reads a reference to one or more certificates in PEM.
func (r Reader) Certificates(ctx context.Context, ref Reference) ([]byte, error) {
	b, err := r.Read(ctx, ref, maxPEMSize)
	if err != nil {
		return nil, err
	}
	if _, err := parseCertificates(b); err != nil {
		return nil, unusable(ref, err)
	}
	return b, nil
}
