package node

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// referenceTimeout is for one https reference. A server that hangs must not hang the boot: the unit has a minute.
const referenceTimeout = 15 * time.Second

// Reader reads what references name.
type Reader struct {
	Credentials string            // $CREDENTIALS_DIRECTORY
	Root        string            // where / is, for files; empty: /
	Authorities *x509.CertPool    // that must have signed the certificate of an https server; nil: the image's
	Certificate []tls.Certificate // shown to an https server that asks for one: the node's, when it has one
	Timeout     time.Duration     // for one https reference; 0: 15 s
	Fetcher     Fetcher
}

// Read gives the value, of at most limit bytes. Errors name the reference and never the value.
func (r Reader) Read(ctx context.Context, ref Reference, limit int64) ([]byte, error) {
	kind, target := ref.Split()
	var b []byte
	var err error
	switch kind {
	case "credential":
		b, err = r.credential(target, limit)
	case "file":
		b, err = readLimited(filepath.Join("/", r.Root, target), limit)
	case "https":
		if b, err = r.fetch(ctx, target, limit); err != nil {
			return nil, err
		}
	default:
		return nil, errors.New("a value is not a reference")
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", ref.Name(), err)
	}
	if len(b) == 0 {
		return nil, fmt.Errorf("cannot read %s: it is empty", ref.Name())
	}
	return b, nil
}

// Name is the reference as messages show it: what follows the path of a URL may be a secret.
func (r Reference) Name() string {
	kind, target := r.Split()
	switch kind {
	case "https":
		u, err := url.Parse(target)
		if err != nil {
			return "a URL"
		}
		return shown(u)
	case "credential":
		return "credential " + target
	}
	return target
}

func (r Reader) credential(name string, limit int64) ([]byte, error) {
	handOver := "hand it to the node by SMBIOS type 11 (io.systemd.credential.binary:" + name + "=BASE64) " +
		"or on the ESP (loader/credentials/" + name + ".cred)"
	if r.Credentials == "" {
		return nil, Hinted(errors.New("$CREDENTIALS_DIRECTORY is not set"), "start hostcheck-configure.service, and "+handOver)
	}
	b, err := readLimited(filepath.Join(r.Credentials, name), limit)
	if errors.Is(err, os.ErrNotExist) {
		return nil, Hinted(errors.New("it is missing"), handOver)
	}
	return b, err
}

// fetch asks a server that the image's authorities or the cluster's have vouched for.
func (r Reader) fetch(ctx context.Context, target string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(r.Timeout, referenceTimeout))
	defer cancel()
	roots := r.Authorities
	if roots == nil {
		roots = imageAuthorities()
	}
	fetcher := r.Fetcher
	fetcher.Certificates = r.Certificate
	return fetcher.HTTPS(ctx, target, roots, limit)
}

// imageAuthorities are those of the image: /etc/ssl/certs.
func imageAuthorities() *x509.CertPool {
	pool, err := x509.SystemCertPool()
	if err != nil {
		return x509.NewCertPool() // the image has none
	}
	return pool
}
