package bootstrap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/strongroom/strongroom/internal/atomicfile"
	"github.com/strongroom/strongroom/internal/cluster"
	"github.com/strongroom/strongroom/internal/node"
)

// sealRoot encrypts the root token to a key that it leaves in memory. Who has the disk has half of it, and half of it is gone with the power.
func sealRoot(keyPath string, token []byte) (string, error) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(keyPath), 0o755); err != nil {
		return "", fmt.Errorf("cannot keep a key in memory: %w", err)
	}
	err = atomicfile.Write(keyPath, 0o600, func(w io.Writer) error {
		_, err := io.WriteString(w, identity.String()+"\n")
		return err
	})
	if err != nil {
		return "", fmt.Errorf("cannot keep a key in memory: %w", err)
	}
	sealed, err := encrypt(identity.Recipient(), token)
	return string(sealed), err
}

// openRoot is the way back.
func openRoot(keyPath, sealed string) ([]byte, error) {
	text, err := os.ReadFile(keyPath)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	identity, err := age.ParseX25519Identity(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, errors.New("the key in memory is no key")
	}
	r, err := age.Decrypt(armor.NewReader(strings.NewReader(sealed)), identity)
	if err != nil {
		return nil, errors.New("the key in memory is another one")
	}
	return io.ReadAll(r)
}

// encrypt gives age's text form.
func encrypt(to age.Recipient, secret []byte) ([]byte, error) {
	var out bytes.Buffer
	text := armor.NewWriter(&out)
	w, err := age.Encrypt(text, to)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(secret)
	if err := errors.Join(err, w.Close(), text.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// rootToken gives the root token of this first start: from this run, from an earlier one, or from the key holders.
func (r *run) rootToken(ctx context.Context) ([]byte, error) {
	if len(r.root) > 0 {
		return r.root, nil
	}
	token, err := openRoot(r.KeyPath, r.state.Root)
	if err == nil {
		switch answer := r.isRoot(ctx, token); {
		case answer == nil:
			r.root = token
			return token, nil
		case cluster.StatusOf(answer) != http.StatusForbidden:
			return nil, fmt.Errorf("cannot ask about the root token: %s", cluster.Words(answer))
		}
	}
	if given := r.Token.Reveal(); len(given) > 0 {
		if err := r.isRoot(ctx, given); err != nil {
			return nil, node.Hinted(fmt.Errorf("the credential %s is no living root token: %s", node.CredentialBootstrapToken, cluster.Words(err)), "vault operator generate-root")
		}
		r.root = append([]byte(nil), given...)
		return r.root, nil
	}
	if err == nil {
		err = errors.New("the server does not know it any more")
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.New("its key was in memory, and the machine has restarted since")
	}
	return nil, node.Hinted(fmt.Errorf("the root token of this first start is lost: %w", err),
		"the key holders generate one (operator generate-root) and hand it over as credential "+node.CredentialBootstrapToken+
			"; or, since nothing is in this cluster yet, stop the server, wipe its storage and "+r.Directory+", empty the sinks, and start again")
}

// isRoot asks what a token is.
func (r *run) isRoot(ctx context.Context, token []byte) error {
	about, err := r.lookup(ctx, token)
	if err == nil && !about.root() {
		err = errors.New("it has not the policy root")
	}
	return err
}

// about is what a server says of a token.
type about struct {
	Data struct {
		Accessor string   `json:"accessor"`
		Policies []string `json:"policies"`
	} `json:"data"`
}

func (a about) root() bool {
	for _, p := range a.Data.Policies {
		if p == "root" {
			return true
		}
	}
	return false
}

func (r *run) lookup(ctx context.Context, token []byte) (about, error) {
	var a about
	err := r.Server.Ask(ctx, http.MethodGet, "auth/token/lookup-self", nil, token, nil, &a)
	return a, err
}

// asRoot asks with the root token.
func (r *run) asRoot(ctx context.Context, method, path string, in, out any) error {
	token, err := r.rootToken(ctx)
	if err != nil {
		return err
	}
	if err := r.Server.Ask(ctx, method, path, nil, token, in, out); err != nil {
		return fmt.Errorf("%s: %s", path, cluster.Words(err))
	}
	return nil
}
