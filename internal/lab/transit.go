package lab

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	vault "github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/internal/node"
)

// transit is a Vault outside the cluster, a process of the host, that seals the cluster with its transit engine. What it
// holds is in memory only: when it ends, the cluster cannot be unsealed any more, as with any lost seal.
type transit struct {
	address string // on the host's loopback
	client  *vault.Client
	cancel  context.CancelFunc
	done    chan struct{}
	output  *bytes.Buffer // valid after done
}

const (
	transitKey = "lab"
	// transitPort is where nodes find it on network.Host.
	transitPort = 8200
	// transitPolicy is all that a node may ask of it.
	transitPolicy = `path "transit/encrypt/` + transitKey + `" { capabilities = ["update"] }
path "transit/decrypt/` + transitKey + `" { capabilities = ["update"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/lookup-self" { capabilities = ["read"] }
`
)

// startTransit starts the program, a Vault or an OpenBao, with what it needs in dir.
func startTransit(ctx context.Context, dir, program string, authority *Authority) (_ *transit, err error) {
	certificate, key, err := authority.issue("host.lab")
	if err != nil {
		return nil, err
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("cannot find a free port for the Vault of the transit seal: %w", err)
	}
	t := &transit{address: free.Addr().String(), done: make(chan struct{}), output: &bytes.Buffer{}}
	free.Close()
	configuration := fmt.Sprintf(`disable_mlock = true
storage "inmem" {}
listener "tcp" {
  address       = %q
  tls_cert_file = %q
  tls_key_file  = %q
}
`, t.address, filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot set up the Vault of the transit seal: %w", err)
	}
	for name, content := range map[string][]byte{"tls.crt": certificate, "tls.key": key, "server.hcl": []byte(configuration)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return nil, fmt.Errorf("cannot set up the Vault of the transit seal: %w", err)
		}
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	t.cancel = cancel
	cmd := exec.CommandContext(running, program, "server", "-config="+filepath.Join(dir, "server.hcl"))
	cmd.Stdout, cmd.Stderr = t.output, t.output
	if err := startMortal(cmd, func(error) { close(t.done) }); err != nil {
		cancel()
		return nil, fmt.Errorf("cannot start %s for the transit seal: %w", program, err)
	}
	defer func() {
		if err != nil {
			t.Close()
		}
	}()
	if t.client, err = newClient("https://"+t.address, authority.ClientTLS()); err != nil {
		return nil, err
	}
	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := t.setUp(starting); err != nil {
		return nil, fmt.Errorf("cannot set up the Vault of the transit seal: %w", err)
	}
	return t, nil
}

// newClient is a client of a server of the lab, without a token.
func newClient(address string, trust *tls.Config) (*vault.Client, error) {
	config := vault.DefaultConfig()
	config.Address = address
	config.HttpClient = &http.Client{Transport: &http.Transport{TLSClientConfig: trust}}
	config.Timeout = time.Minute
	config.MaxRetries = 0
	client, err := vault.NewClient(config)
	if err != nil {
		return nil, err
	}
	// Nothing of the user's own Vault: neither token nor namespace.
	client.ClearToken()
	client.ClearNamespace()
	return client, nil
}

func (t *transit) setUp(ctx context.Context) error {
	var initialised *vault.InitResponse
	for {
		var err error
		if initialised, err = t.client.Sys().InitWithContext(ctx, &vault.InitRequest{SecretShares: 1, SecretThreshold: 1}); err == nil {
			break
		}
		select {
		case <-t.done:
			return fmt.Errorf("it has ended: %s", bytes.TrimSpace(t.output.Bytes()))
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.client.SetToken(initialised.RootToken)
	if _, err := t.client.Sys().UnsealWithContext(ctx, initialised.Keys[0]); err != nil {
		return err
	}
	if err := t.client.Sys().MountWithContext(ctx, "transit", &vault.MountInput{Type: "transit"}); err != nil {
		return err
	}
	if _, err := t.client.Logical().WriteWithContext(ctx, "transit/keys/"+transitKey, nil); err != nil {
		return err
	}
	return t.client.Sys().PutPolicyWithContext(ctx, "seal", transitPolicy)
}

// token makes a node's token for the seal.
func (t *transit) token(ctx context.Context) (node.Secret, error) {
	secret, err := t.client.Auth().Token().CreateOrphanWithContext(ctx, &vault.TokenCreateRequest{
		Policies: []string{"seal"}, Period: "24h", NoDefaultPolicy: true, DisplayName: "seal",
	})
	if err != nil {
		return node.Secret{}, fmt.Errorf("cannot make a token for the seal: %w", err)
	}
	return node.NewSecret([]byte(secret.Auth.ClientToken)), nil
}

// block is the seal block of a node.hcl.
func (t *transit) block() string {
	return fmt.Sprintf(`seal "transit" {
  address    = "https://host.lab:%d"
  key_name   = %q
  mount_path = "transit/"
  token      = "credential:%s"
  ca         = "credential:%s"
}
`, transitPort, transitKey, sealToken, node.CredentialCA)
}

// sealToken is the credential with a node's token for the seal.
const sealToken = "strongroom.seal.token"

func (t *transit) Close() error {
	t.cancel()
	<-t.done
	return nil
}
