package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Names of the systemd credentials that carry a node's identity, and of the files below
// $CREDENTIALS_DIRECTORY.
const (
	CredentialConfig = "strongroom.node.hcl"
	CredentialCert   = "strongroom.tls.crt"
	CredentialKey    = "strongroom.tls.key"
	CredentialCA     = "strongroom.tls.ca"
	// CredentialToken is optional: the agent's token for the server's API.
	CredentialToken = "strongroom.agent.token"
)

// maxTokenSize is far more than a token of any kind has.
const maxTokenSize = 8 << 10

// maxPEMSize holds a chain of a dozen certificates or a bundle of a hundred roots.
const maxPEMSize = 256 << 10

// Credentials is what the hypervisor, the metadata service or the boot partition handed to
// this node, unread.
type Credentials struct {
	Config []byte
	Cert   []byte // the node's certificate and its intermediates, PEM
	Key    Secret // PEM
	CA     []byte // the certificate authorities of the cluster, PEM
}

// ReadCredentials reads a credentials directory as systemd passes it to a unit. Every
// credential is needed; all that are missing are reported together. What could be read is returned
// even beside an error, so that a caller can act on a good node.hcl beside a bad key.
func ReadCredentials(dir string) (Credentials, error) {
	var c Credentials
	if dir == "" {
		return c, Hinted(
			fmt.Errorf("cannot read credential %s: $CREDENTIALS_DIRECTORY is not set", CredentialConfig),
			"start hostcheck-configure.service, and hand over the credentials by SMBIOS type 11 "+
				"(io.systemd.credential.binary:"+CredentialConfig+"=BASE64) or on the ESP (loader/credentials/)")
	}
	var errs []error
	read := func(name string, limit int64) []byte {
		b, err := readLimited(filepath.Join(dir, name), limit)
		switch {
		case errors.Is(err, os.ErrNotExist):
			errs = append(errs, Hinted(fmt.Errorf("credential %s is missing", name),
				"hand it to the node by SMBIOS type 11 (io.systemd.credential.binary:"+name+"=BASE64) "+
					"or on the ESP (loader/credentials/"+name+".cred)"))
		case err != nil:
			errs = append(errs, fmt.Errorf("cannot read credential %s: %w", name, err))
		case len(b) == 0:
			errs = append(errs, fmt.Errorf("credential %s is empty", name))
		}
		return b
	}
	c.Config = read(CredentialConfig, maxConfigSize)
	c.Cert = read(CredentialCert, maxPEMSize)
	c.Key = NewSecret(read(CredentialKey, maxPEMSize))
	c.CA = read(CredentialCA, maxPEMSize)
	return c, errors.Join(errs...)
}

// ReadToken reads the agent's token from a credentials directory. It is optional: without it the secret is
// empty, and that is no error.
func ReadToken(dir string) (Secret, error) {
	if dir == "" {
		return Secret{}, nil
	}
	b, err := readLimited(filepath.Join(dir, CredentialToken), maxTokenSize)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return Secret{}, nil
	case err != nil:
		return Secret{}, fmt.Errorf("cannot read credential %s: %w", CredentialToken, err)
	}
	return NewSecret(bytes.TrimSpace(b)), nil
}

func readLimited(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("it has more than %d bytes", limit)
	}
	return b, nil
}
