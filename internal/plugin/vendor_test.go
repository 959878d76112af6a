//go:build bake

package plugin_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// vendor is a mirror on this machine, with one made-up release of Vault signed by a made-up key.
type vendor struct {
	url, fingerprint string
	key, authorities []byte
	files            map[string]string // by path
}

func newVendor(t *testing.T, program []byte) *vendor {
	t.Helper()
	key, err := openpgp.NewEntity("Vendor", "", "vendor@example.com", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	if err != nil {
		t.Fatal(err)
	}
	var public, archive, signature bytes.Buffer
	if err := key.Serialize(&public); err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(&archive)
	file, err := z.Create("vault")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(program); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	sums := fmt.Sprintf("%x  vault_1.21.1_linux_amd64.zip\n", sha256.Sum256(archive.Bytes()))
	if err := openpgp.DetachSign(&signature, key, strings.NewReader(sums), nil); err != nil {
		t.Fatal(err)
	}
	v := &vendor{fingerprint: fmt.Sprintf("%X", key.PrimaryKey.Fingerprint), key: public.Bytes(), files: map[string]string{
		"/index.json":                          `{"versions":{"1.20.0":{},"1.21.1":{},"1.22.0-rc1":{}}}`,
		"/1.21.1/vault_1.21.1_SHA256SUMS":      sums,
		"/1.21.1/vault_1.21.1_SHA256SUMS.sig":  signature.String(),
		"/1.21.1/vault_1.21.1_linux_amd64.zip": archive.String(),
	}}
	mirror := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if content, ok := v.files[r.URL.Path]; ok {
			fmt.Fprint(rw, content)
			return
		}
		http.NotFound(rw, r)
	}))
	t.Cleanup(mirror.Close)
	v.url = mirror.URL
	v.authorities = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: mirror.Certificate().Raw})
	return v
}

// write puts the files that [vendor.attributes] names into the directory of a template.
func (v *vendor) write(t *testing.T, dir string) {
	t.Helper()
	for name, content := range map[string][]byte{"vendor.gpg": v.key, "ca.pem": v.authorities} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// attributes are those of a data source strongroom-release that resolves the release.
func (v *vendor) attributes() string {
	return fmt.Sprintf(`
  product      = "vault"
  version      = "~> 1.21"
  mirror       = %q
  mirror_ca    = "ca.pem"
  key_file     = "vendor.gpg"
  fingerprints = [%q]`, v.url, v.fingerprint)
}
