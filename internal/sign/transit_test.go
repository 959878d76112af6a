package sign_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	vault "github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/internal/sign"
	"github.com/strongroom/strongroom/internal/signature"
)

// signerPolicy is all that a bake may ask of the server; docs/statement.md shows it.
const signerPolicy = `path "transit/keys/+" { capabilities = ["read"] }
path "transit/sign/+" { capabilities = ["update"] }
`

// devServer starts a real Vault in memory and gives a client with its root token.
func devServer(t *testing.T) *vault.Client {
	t.Helper()
	binary := os.Getenv("VAULT_BINARY")
	if binary == "" {
		t.Skip("SKIPPED, NOTHING WAS PROVEN: VAULT_BINARY is not set; `make test` sets it")
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, binary, "server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root", "-dev-listen-address="+address)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); cmd.Wait() })
	var said bytes.Buffer
	for lines := bufio.NewScanner(io.TeeReader(out, &said)); ; {
		if !lines.Scan() {
			t.Fatalf("the server has ended:\n%s", said.String())
		}
		if strings.Contains(lines.Text(), "Root Token:") {
			break
		}
	}
	go io.Copy(io.Discard, out)
	t.Setenv("VAULT_ADDR", "http://"+address)
	t.Setenv("VAULT_TOKEN", "root")
	client, err := vault.NewClient(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Sys().Mount("transit", &vault.MountInput{Type: "transit"}); err != nil {
		t.Fatal(err)
	}
	return client
}

func write(t *testing.T, c *vault.Client, path string, data map[string]any) {
	t.Helper()
	if _, err := c.Logical().Write(path, data); err != nil {
		t.Fatal(err)
	}
}

// A real Vault signs with a token that can do nothing else, and its signatures hold without it.
func TestTransit(t *testing.T) {
	c := devServer(t)
	if err := c.Sys().PutPolicy("signer", signerPolicy); err != nil {
		t.Fatal(err)
	}
	token, err := c.Auth().Token().Create(&vault.TokenCreateRequest{Policies: []string{"signer"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("VAULT_TOKEN", token.Auth.ClientToken)
	for _, kind := range []string{"ed25519", "ecdsa-p256"} {
		write(t, c, "transit/keys/"+kind, map[string]any{"type": kind})
		reference := "vault:transit/" + kind
		key, err := sign.OpenKey(reference)
		if err != nil {
			t.Fatal(err)
		}
		made, err := signature.Sign(key, "test", []byte("message"))
		if err != nil {
			t.Fatal(err)
		}
		if err := signature.Verify(key.Public(), "test", []byte("message"), made); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if err := signature.Verify(key.Public(), "test", []byte("massage"), made); err == nil {
			t.Errorf("%s: the signature is of any message", kind)
		}
		if shown := fmt.Sprintf("%v %+v %#v %s", key, key, key, key); strings.Contains(shown, token.Auth.ClientToken) || !strings.Contains(shown, reference) {
			t.Errorf("%s shows itself as %s", kind, shown)
		}
		// After a rotation the old signature holds by one of the key's versions, and the opened key signs with its own.
		write(t, c, "transit/keys/"+kind+"/rotate", nil)
		keys, err := sign.TransitKeys(reference)
		if err != nil || len(keys) != 2 {
			t.Fatalf("%s: %d keys (%v)", kind, len(keys), err)
		}
		if again, err := signature.Sign(key, "test", []byte("message")); err != nil || signature.Verify(keys[1], "test", []byte("message"), again) != nil {
			t.Errorf("%s: after the rotation: %v", kind, err)
		}
		if signature.Verify(keys[0], "test", []byte("message"), made) == nil || !keys[1].(interface{ Equal(crypto.PublicKey) bool }).Equal(key.Public()) {
			t.Errorf("%s: the newest version is not the first", kind)
		}
	}
	write(t, c, "transit/keys/rsa", map[string]any{"type": "rsa-2048"})
	for reference, says := range map[string]string{
		"vault:transit/rsa":    "make one of type ed25519 or ecdsa-p256",
		"vault:transit/absent": "has none of that name",
		"vault:elsewhere/key":  "permission denied",
	} {
		if _, err := sign.OpenKey(reference); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", reference, err, says)
		}
	}
	t.Setenv("VAULT_TOKEN", "")
	if _, err := sign.OpenKey("vault:transit/ed25519"); err == nil || !strings.Contains(err.Error(), "there is no token in VAULT_TOKEN") {
		t.Error(err)
	}
}

func TestCheckTransit(t *testing.T) {
	for _, good := range []string{"vault:transit/key", "vault:team/transit/key"} {
		if err := sign.CheckTransit(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"vault:", "vault:key", "vault:/key", "vault:transit/", "vault:transit//key", "vault://transit/key", "vault:transit/key?x", "transit/key"} {
		if err := sign.CheckTransit(bad); err == nil || !strings.Contains(err.Error(), "write vault:MOUNT/KEY") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
