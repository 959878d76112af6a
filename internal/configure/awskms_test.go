package configure_test

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/node/nodetest"
)

// beginAWS stands in for the key service of AWS, as far as a seal asks it: its three requests, in its own protocol. It
// believes nobody but who shows the access key and the session that node.hcl refers to, for the region that it names.
func beginAWS(t *testing.T, _ string) sealed {
	const id, session = "AKIDEXAMPLE", "a-session-of-the-test"
	ca := nodetest.NewCA(t, nodetest.Today())
	cert, key := ca.Issue(nodetest.Today(), "127.0.0.1")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	service := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := r.Header.Get("Authorization")
		if !strings.Contains(who, "Credential="+id+"/") || !strings.Contains(who, "/eu-central-1/kms/") || r.Header.Get("X-Amz-Security-Token") != session {
			http.Error(w, `{"__type":"AccessDeniedException"}`, http.StatusBadRequest)
			return
		}
		var in struct {
			KeyID                     string `json:"KeyId"`
			Plaintext, CiphertextBlob []byte
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.KeyID != "" && in.KeyID != "alias/unseal" {
			http.Error(w, `{"__type":"NotFoundException"}`, http.StatusBadRequest)
			return
		}
		out := map[string]any{"KeyId": "alias/unseal"}
		switch r.Header.Get("X-Amz-Target") {
		case "TrentService.DescribeKey":
			out = map[string]any{"KeyMetadata": map[string]any{"KeyId": "alias/unseal", "Arn": "arn:aws:kms:eu-central-1:1:alias/unseal"}}
		case "TrentService.Encrypt":
			out["CiphertextBlob"] = turned(in.Plaintext)
		case "TrentService.Decrypt":
			out["Plaintext"] = turned(in.CiphertextBlob)
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_ = json.NewEncoder(w).Encode(out)
	}))
	service.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	service.StartTLS()
	t.Cleanup(service.Close)
	authorities := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(authorities, ca.PEM, 0o600); err != nil {
		t.Fatal(err)
	}
	return sealed{
		kind: "awskms",
		block: `
seal "awskms" {
  kms_key_id    = "alias/unseal"
  region        = "eu-central-1"
  endpoint      = "` + service.URL + `"
  access_key    = "credential:strongroom.seal.id"
  secret_key    = "credential:strongroom.seal.secret"
  session_token = "credential:strongroom.seal.session"
}
`,
		credentials: map[string]string{"strongroom.seal.id": id + "\n", "strongroom.seal.secret": "wJalrXUtnFEMIK7MDENG\n", "strongroom.seal.session": session + "\n"},
		// On a node these are the image's; where the tests run, either may be set.
		environment: []string{"SSL_CERT_FILE=" + authorities, "AWS_CA_BUNDLE=" + authorities},
	}
}

// turned is a cipher that a test can undo.
func turned(b []byte) []byte {
	b = slices.Clone(b)
	slices.Reverse(b)
	return b
}
