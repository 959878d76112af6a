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
	// CredentialMeasurements is optional and no secret: what the TPM should have measured (strongroom.measurements/v1).
	CredentialMeasurements = "strongroom.measurements"
)

// CredentialNames are those that node.hcl may refer to. systemd gives a unit the credentials that it asks for by name, so the
// units of configure and renew have the same list.
var CredentialNames = []string{
	CredentialCert, CredentialKey, CredentialCA,
	"strongroom.leader.ca", CredentialLogsCA,
	"strongroom.metrics.bcrypt", "strongroom.metrics.ca",
	"strongroom.seal.ca", "strongroom.seal.client.crt", "strongroom.seal.client.key", "strongroom.seal.credentials", "strongroom.seal.id",
	"strongroom.seal.key", "strongroom.seal.previous", "strongroom.seal.secret", "strongroom.seal.session", "strongroom.seal.token",
}

// maxTokenSize is far more than a token of any kind has.
const maxTokenSize = 8 << 10

// maxPEMSize holds a chain of a dozen certificates or a bundle of a hundred roots.
const maxPEMSize = 256 << 10

// Credentials is what the hypervisor, the metadata service or the boot partition handed to
// this node, unread.
type Credentials struct {
	Config []byte
	Material
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
