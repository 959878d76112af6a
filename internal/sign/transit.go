package sign

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	vault "github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/internal/signature"
)

// transitScheme begins the reference of a key in the transit engine of a Vault or OpenBao: "vault:MOUNT/KEY".
const transitScheme = "vault:"

// transitTimeout bounds each question to the server.
const transitTimeout = 30 * time.Second

// transitKey is one version of a key that never leaves its server. The address, the authorities, the namespace and the token are
// those of the environment, as the server's own command line takes them (VAULT_ADDR, VAULT_CACERT, VAULT_NAMESPACE, VAULT_TOKEN).
type transitKey struct {
	client      *vault.Client
	mount, name string
	version     int
	public      crypto.PublicKey
}

// IsTransit reports whether a reference names a key of a transit engine.
func IsTransit(reference string) bool { return strings.HasPrefix(reference, transitScheme) }

// CheckTransit says what is wrong with the form of such a reference. It asks nobody.
func CheckTransit(reference string) error {
	_, _, err := parseTransit(reference)
	return err
}

func parseTransit(reference string) (mount, name string, err error) {
	path, ok := strings.CutPrefix(reference, transitScheme)
	at := strings.LastIndexByte(path, '/')
	if !ok || at <= 0 || at == len(path)-1 || strings.Contains(path, "//") || strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?#% ") {
		return "", "", fmt.Errorf("%q names no key of a transit engine: write vault:MOUNT/KEY, as in vault:transit/strongroom", reference)
	}
	return path[:at], path[at+1:], nil
}

// openTransit takes the newest version of a key.
func openTransit(reference string) (*transitKey, error) {
	client, mount, name, keys, err := readTransit(reference)
	if err != nil {
		return nil, err
	}
	newest := slices.Max(slices.Collect(maps.Keys(keys)))
	return &transitKey{client: client, mount: mount, name: name, version: newest, public: keys[newest]}, nil
}

// TransitKeys are the public keys of all versions of a key that its server still lets verify, the newest first.
func TransitKeys(reference string) ([]crypto.PublicKey, error) {
	_, _, _, keys, err := readTransit(reference)
	if err != nil {
		return nil, err
	}
	var out []crypto.PublicKey
	for _, version := range slices.Backward(slices.Sorted(maps.Keys(keys))) {
		out = append(out, keys[version])
	}
	return out, nil
}

func readTransit(reference string) (client *vault.Client, mount, name string, keys map[int]crypto.PublicKey, err error) {
	mount, name, err = parseTransit(reference)
	if err != nil {
		return nil, "", "", nil, err
	}
	if client, err = vault.NewClient(nil); err != nil {
		return nil, "", "", nil, fmt.Errorf("cannot ask Vault for %s: %w", reference, err)
	}
	client.SetClientTimeout(transitTimeout)
	client.SetMaxRetries(2)
	if client.Token() == "" {
		return nil, "", "", nil, fmt.Errorf("cannot ask Vault for %s: there is no token in VAULT_TOKEN", reference)
	}
	ctx, cancel := context.WithTimeout(context.Background(), transitTimeout)
	defer cancel()
	secret, err := client.Logical().ReadWithContext(ctx, mount+"/keys/"+name)
	if err != nil {
		return nil, "", "", nil, fmt.Errorf("cannot read the key %s: %w", reference, err)
	}
	if secret == nil {
		return nil, "", "", nil, fmt.Errorf("cannot read the key %s: %s has none of that name: vault write %s/keys/%s type=ed25519", reference, client.Address(), mount, name)
	}
	if keys, err = transitPublic(secret.Data); err != nil {
		return nil, "", "", nil, fmt.Errorf("cannot use the key %s: %w", reference, err)
	}
	return client, mount, name, keys, nil
}

// transitPublic reads the public keys of an answer of transit/keys/NAME, by version.
func transitPublic(data map[string]any) (map[int]crypto.PublicKey, error) {
	kind, _ := data["type"].(string)
	if kind != "ed25519" && kind != "ecdsa-p256" {
		return nil, fmt.Errorf("it is of type %q: make one of type ed25519 or ecdsa-p256", kind)
	}
	if derived, _ := data["derived"].(bool); derived {
		return nil, errors.New("it is derived, so that it has no public key of its own")
	}
	versions, _ := data["keys"].(map[string]any)
	keys := map[int]crypto.PublicKey{}
	for number, value := range versions {
		version, err := strconv.Atoi(number)
		if err != nil {
			return nil, fmt.Errorf("version %q is no number", number)
		}
		fields, _ := value.(map[string]any)
		text, _ := fields["public_key"].(string)
		if kind == "ed25519" {
			raw, err := base64.StdEncoding.DecodeString(text)
			if err != nil || len(raw) != ed25519.PublicKeySize {
				return nil, fmt.Errorf("version %d has no Ed25519 public key", version)
			}
			keys[version] = ed25519.PublicKey(raw)
			continue
		}
		if keys[version], err = signature.ParsePublicKey([]byte(text)); err != nil {
			return nil, fmt.Errorf("version %d: %w", version, err)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("it has no public key")
	}
	return keys, nil
}

// Public is the public key of the version that signs.
func (k *transitKey) Public() crypto.PublicKey { return k.public }

// Sign has the server sign: the message itself with Ed25519, its SHA-256 with ECDSA.
func (k *transitKey) Sign(_ io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	request := map[string]any{"input": base64.StdEncoding.EncodeToString(message), "key_version": k.version}
	switch _, edwards := k.public.(ed25519.PublicKey); {
	case edwards && opts.HashFunc() != 0:
		return nil, errors.New("an Ed25519 key of a transit engine signs messages, and not their digests")
	case !edwards && opts.HashFunc() != crypto.SHA256:
		return nil, errors.New("a P-256 key of a transit engine signs SHA-256 digests alone")
	case !edwards:
		request["prehashed"], request["hash_algorithm"], request["marshaling_algorithm"] = true, "sha2-256", "asn1"
	}
	ctx, cancel := context.WithTimeout(context.Background(), transitTimeout)
	defer cancel()
	secret, err := k.client.Logical().WriteWithContext(ctx, k.mount+"/sign/"+k.name, request)
	if err != nil {
		return nil, fmt.Errorf("cannot sign with the key %s of %s: %w", k.name, k.mount, err)
	}
	var text string
	if secret != nil {
		text, _ = secret.Data["signature"].(string)
	}
	value, ok := strings.CutPrefix(text, "vault:v"+strconv.Itoa(k.version)+":")
	made, err := base64.StdEncoding.DecodeString(value)
	if !ok || err != nil {
		return nil, fmt.Errorf("cannot sign with the key %s of %s: the server gave no signature of version %d", k.name, k.mount, k.version)
	}
	return made, nil
}

// String keeps the client, and the token in it, out of every log.
func (k *transitKey) String() string { return transitScheme + k.mount + "/" + k.name }

// GoString is String.
func (k *transitKey) GoString() string { return k.String() }
