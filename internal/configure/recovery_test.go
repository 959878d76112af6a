package configure_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/strongroom/strongroom/internal/configure"
	"github.com/strongroom/strongroom/internal/node/nodetest"
)

const register12 = "sys/class/tpm/tpm0/pcr-sha256/12"

const secureBootOn = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"

// guarded is a machine that was configured, and that can guard a key.
func guarded(t *testing.T, recovery string) configure.Options {
	t.Helper()
	creds := nodetest.NewCA(t, nodetest.Today()).Credentials(config+recovery, "node.example")
	o, _, _ := machine(t, creds)
	if _, err := configure.Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{
		secureBootOn: "\x06\x00\x00\x00\x01", "sys/class/tpm/tpm0/tpm_version_major": "2\n", register12: strings.Repeat("0", 64) + "\n",
		"run/systemd/tpm2-pcr-public-key.pem": "PEM", "run/systemd/tpm2-pcr-signature.json": "{}",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(o.Root, path)), 0o755); err != nil {
			t.Fatal(err)
		}
		put(t, o.Root, path, content)
	}
	if err := os.Mkdir(filepath.Join(o.Root, filepath.Dir(configure.RecoveryKeyPath)), 0o700); err != nil {
		t.Fatal(err)
	}
	o.Random = rand.Reader
	return o
}

func identity(t *testing.T) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// open gives the recovery key of a delivered file.
func open(t *testing.T, sealed string, id age.Identity) string {
	t.Helper()
	r, err := age.Decrypt(armor.NewReader(strings.NewReader(sealed)), id)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile(`(?m)^key: (([cbdefghijklnrtuv]{8}-){7}[cbdefghijklnrtuv]{8})$`).FindSubmatch(text)
	if match == nil {
		t.Fatalf("no recovery key:\n%s", text)
	}
	return string(match[1])
}

func recoveryBlock(id *age.X25519Identity, places ...string) string {
	return fmt.Sprintf("recovery {\n  recipients = [%q]\n  deliver_to = [%s]\n}\n", id.Recipient(), `"`+strings.Join(places, `", "`)+`"`)
}

func TestRecoveryKeyIsDeliveredBeforeItIsUsed(t *testing.T) {
	id, second := identity(t), identity(t)
	o := guarded(t, fmt.Sprintf("recovery {\n  recipients = [%q, %q]\n  deliver_to = [\"node\"]\n}\n", id.Recipient(), second.Recipient()))
	made, err := configure.Recover(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	sealed := read(t, o.Root, made.DeliveredTo[0])
	key := read(t, o.Root, configure.RecoveryKeyPath)
	if open(t, sealed, id) != key || open(t, sealed, second) != key {
		t.Error("a recipient finds another key than the partitions are made with")
	}
	if strings.Contains(sealed, key) || strings.Contains(made.KeyID, key) {
		t.Error("the key is there in the clear")
	}
	info, err := os.Stat(filepath.Join(o.Root, configure.RecoveryKeyPath))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key in the clear is for others too: %v %v", info.Mode(), err)
	}
	// A run that was cut short before the partitions were made leaves its key, and the next has one of its own.
	again, err := configure.Recover(t.Context(), o)
	if err != nil || again.KeyID == made.KeyID || again.DeliveredTo[0] == made.DeliveredTo[0] {
		t.Errorf("a second run: %+v, %v", again, err)
	}
	if read(t, o.Root, made.DeliveredTo[0]) != sealed {
		t.Error("the first key was written over")
	}
}

// A server that keeps what is put there, and what it does to a document.
type shelf struct {
	sync.Mutex
	documents map[string][]byte
	garble    func([]byte) []byte
	status    int
}

func (k *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.Lock()
	defer k.Unlock()
	switch r.Method {
	case http.MethodPut:
		if k.status != 0 {
			w.WriteHeader(k.status)
			return
		}
		k.documents[r.URL.Path], _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusCreated)
	case http.MethodGet:
		document, ok := k.documents[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Write(k.garble(document))
	}
}

func TestRecoveryKeyGoesToAServer(t *testing.T) {
	id := identity(t)
	for name, c := range map[string]struct {
		garble func([]byte) []byte
		status int
		fails  string
	}{
		"kept":            {garble: bytes.Clone},
		"refused":         {garble: bytes.Clone, status: http.StatusForbidden, fails: "403"},
		"something else":  {garble: bytes.ToUpper, fails: "something else"},
		"cut short":       {garble: func(b []byte) []byte { return b[:10] }, fails: "something else"},
		"redirected away": {garble: bytes.Clone, status: http.StatusTemporaryRedirect, fails: "redirect"},
	} {
		t.Run(name, func(t *testing.T) {
			k := &shelf{documents: map[string][]byte{}, garble: c.garble, status: c.status}
			server := httptest.NewTLSServer(k)
			t.Cleanup(server.Close)
			o := guarded(t, recoveryBlock(id, "node", server.URL+"/keys/"))
			pool := x509.NewCertPool()
			pool.AddCert(server.Certificate())
			o.Authorities = pool
			made, err := configure.Recover(t.Context(), o)
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Errorf("%v, want %q", err, c.fails)
				}
				if _, err := os.Stat(filepath.Join(o.Root, configure.RecoveryKeyPath)); err == nil {
					t.Error("the key is there to make partitions with, and nobody holds it")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if open(t, string(k.documents[strings.TrimPrefix(made.DeliveredTo[1], server.URL)]), id) != read(t, o.Root, configure.RecoveryKeyPath) {
				t.Error("the server has another key")
			}
		})
	}
}

func TestRecoverRefuses(t *testing.T) {
	block := recoveryBlock(identity(t), "node")
	for name, c := range map[string]struct {
		block string
		spoil func(t *testing.T, root string)
		want  string
	}{
		"nobody to recover":  {block: "", want: "names nobody who could recover"},
		"Secure Boot is off": {block: block, want: "does not enforce Secure Boot (off)", spoil: func(t *testing.T, root string) { put(t, root, secureBootOn, "\x06\x00\x00\x00\x00") }},
		"no TPM":             {block: block, want: "no TPM 2.0", spoil: func(t *testing.T, root string) { drop(t, root, "sys/class/tpm/tpm0/tpm_version_major") }},
		"TPM 1.2":            {block: block, want: "no TPM 2.0", spoil: func(t *testing.T, root string) { put(t, root, "sys/class/tpm/tpm0/tpm_version_major", "1\n") }},
		"no public key":      {block: block, want: "no signed policy", spoil: func(t *testing.T, root string) { drop(t, root, "run/systemd/tpm2-pcr-public-key.pem") }},
		"no signature":       {block: block, want: "no signed policy", spoil: func(t *testing.T, root string) { drop(t, root, "run/systemd/tpm2-pcr-signature.json") }},
		"an argument added":  {block: block, want: "PCR 12 is not zeros", spoil: func(t *testing.T, root string) { put(t, root, register12, strings.Repeat("A", 64)+"\n") }},
		"no such register":   {block: block, want: "cannot tell whether something was added", spoil: func(t *testing.T, root string) { drop(t, root, register12) }},
		"not configured":     {block: block, want: "has not been configured", spoil: func(t *testing.T, root string) { drop(t, root, "run/hostcheck/node.json") }},
		"nowhere to keep it": {block: block, want: "cannot be delivered", spoil: func(t *testing.T, root string) {
			put(t, root, configure.RecoveryDirectory, "a file where the directory should be")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			o := guarded(t, c.block)
			if c.spoil != nil {
				c.spoil(t, o.Root)
			}
			_, err := configure.Recover(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "hint: ") && c.want != "cannot be delivered" && name != "no such register" {
				t.Errorf("%v, want %q and a hint", err, c.want)
			}
			if _, err := os.Stat(filepath.Join(o.Root, configure.RecoveryKeyPath)); err == nil {
				t.Error("the key is there to make partitions with")
			}
		})
	}
}

func drop(t *testing.T, root, path string) {
	t.Helper()
	if err := os.Remove(filepath.Join(root, path)); err != nil {
		t.Fatal(err)
	}
}
