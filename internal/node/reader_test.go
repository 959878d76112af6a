package node_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/node/nodetest"
)

func TestMaterial(t *testing.T) {
	want := nodetest.NewCA(t, nodetest.Today()).Credentials("cluster {}", "a.example")
	got, err := node.Reader{Credentials: nodetest.WriteCredentials(t, want)}.Material(t.Context(), want.From)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Cert, want.Cert) || !bytes.Equal(got.CA, want.CA) || !bytes.Equal(got.Key.Reveal(), want.Key.Reveal()) {
		t.Error("what was read is not what was written")
	}
}

func TestMaterialNamesWhatIsMissing(t *testing.T) {
	from := nodetest.NewCA(t, nodetest.Today()).Credentials("").From
	if _, err := (node.Reader{}).Material(t.Context(), from); err == nil || !strings.Contains(err.Error(), "CREDENTIALS_DIRECTORY") {
		t.Errorf("without a directory: %v", err)
	}
	some := node.Credentials{Material: node.Material{Cert: bytes.Repeat([]byte("x"), 256<<10+1), CA: []byte{}}}
	_, err := node.Reader{Credentials: nodetest.WriteCredentials(t, some)}.Material(t.Context(), from)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"cannot read credential strongroom.tls.crt: it has more than", "credential strongroom.tls.key: it is missing",
		"io.systemd.credential.binary:strongroom.tls.key", "credential strongroom.tls.ca: it is empty",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
}

// A server stands behind https references: with the cluster's authority, asking for the node's certificate.
func TestReadOverHTTPS(t *testing.T) {
	ca := nodetest.NewCA(t, nodetest.Today())
	cert, key := ca.Issue(nodetest.Today(), "127.0.0.1", "pki.example")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	var flaky, broken atomic.Int64
	handler := http.NewServeMux()
	handler.HandleFunc("/value", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("value")) })
	handler.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 101)) })
	handler.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/value", http.StatusFound) })
	handler.HandleFunc("/flaky", func(w http.ResponseWriter, _ *http.Request) {
		if flaky.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = w.Write([]byte("value"))
	})
	handler.HandleFunc("/broken", func(w http.ResponseWriter, _ *http.Request) { broken.Add(1); w.WriteHeader(http.StatusBadGateway) })
	handler.HandleFunc("/who", func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) == 1 {
			_, _ = w.Write([]byte(r.TLS.PeerCertificates[0].Subject.CommonName))
		}
	})
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)

	reader := node.Reader{Authorities: x509.NewCertPool(), Timeout: 2 * time.Second}
	believing := reader.Believing(ca.PEM)
	believing.Certificate = []tls.Certificate{pair}
	for _, c := range []struct {
		reader            node.Reader
		path, want, fails string
	}{
		{believing, "/value?secret=PLANTED", "value", ""},
		{believing, "/who", "test node", ""},
		{believing, "/flaky", "value", ""},
		{believing, "/broken?secret=PLANTED", "", "/broken?…: given up: the server answered 502"},
		{believing, "/gone?secret=PLANTED", "", "/gone?…: the server answered 404"},
		{believing, "/moved", "", "the server answered 302"},
		{believing, "/large", "", "more than 100 bytes"},
		{reader, "/value?secret=PLANTED", "", "unknown authority"},
	} {
		got, err := c.reader.Read(t.Context(), node.Reference(server.URL+c.path), 100)
		if string(got) != c.want || (err == nil) != (c.fails == "") {
			t.Errorf("%s: got %q, %v", c.path, got, err)
		}
		if err != nil && (!strings.Contains(err.Error(), c.fails) || strings.Contains(err.Error(), "PLANTED")) {
			t.Errorf("%s: error %q, want one with %q", c.path, err, c.fails)
		}
	}
	if n := broken.Load(); n < 2 {
		t.Errorf("a server that is broken was asked %d times", n)
	}

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := believing.Read(ended, node.Reference(server.URL+"/value"), 100); err == nil {
		t.Error("a context that has ended is not heeded")
	}
}

func TestReadFile(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "ca.pem"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	reader := node.Reader{Root: root}
	if got, err := reader.Read(t.Context(), "file:/ca.pem", 10); err != nil || string(got) != "x" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := reader.Certificates(t.Context(), "file:/ca.pem"); err == nil || !strings.Contains(err.Error(), "cannot use /ca.pem: it holds no certificate") {
		t.Errorf("got %v", err)
	}
}

func TestSealFile(t *testing.T) {
	raw := []byte("0123456789abcdef0123456789abcde\n") // a key may end like a line
	const encoded = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZQo="
	ca := nodetest.NewCA(t, nodetest.Today())
	_, key := ca.Issue(nodetest.Today(), "a")
	for name, c := range map[string]struct {
		content     node.Content
		given, want string
		fails       string
	}{
		"token":               {node.ContentLine, "hvs.PLANTED\n", "hvs.PLANTED", ""},
		"token, two lines":    {node.ContentLine, "PLANTED\nPLANTED\n", "", "not one line"},
		"token, only an end":  {node.ContentLine, "\n", "", "not one line"},
		"key":                 {node.ContentKey, string(raw), encoded, ""},
		"key in hexadecimal":  {node.ContentKey, hex.EncodeToString(raw) + "\n", encoded, ""},
		"key in base64":       {node.ContentKey, encoded, encoded, ""},
		"key of another size": {node.ContentKey, "PLANTED", "", "no key of 32 bytes"},
		"JSON":                {node.ContentJSON, `{"a": 1}`, `{"a": 1}`, ""},
		"no JSON":             {node.ContentJSON, `PLANTED`, "", "not JSON"},
		"certificates":        {node.ContentCertificates, string(ca.PEM), string(ca.PEM), ""},
		"no certificates":     {node.ContentCertificates, "PLANTED", "", "no certificate"},
		"private key":         {node.ContentPrivateKey, string(key), string(key), ""},
		"no private key":      {node.ContentPrivateKey, "PLANTED", "", "no PEM"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			if err := os.WriteFile(filepath.Join(root, "f"), []byte(c.given), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := node.Reader{Root: root}.SealFile(t.Context(), node.SealFile{Option: "o", Reference: "file:/f", Content: c.content})
			if string(got.Reveal()) != c.want || (err == nil) != (c.fails == "") {
				t.Errorf("got %q, %v", got.Reveal(), err)
			}
			if err != nil && (!strings.Contains(err.Error(), c.fails) || strings.Contains(err.Error(), "PLANTED")) {
				t.Errorf("error %q, want one with %q", err, c.fails)
			}
		})
	}
}

// Whatever a file of a seal holds, the server gets one line, or 32 bytes, or nothing.
func FuzzSealFile(f *testing.F) {
	for _, seed := range []string{"hvs.token\n", "a\nb", "\xff", strings.Repeat("0f", 32), "0123456789abcdef0123456789abcde\n", "{}"} {
		f.Add([]byte(seed))
	}
	path := filepath.Join(f.TempDir(), "f")
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, c := range []node.Content{node.ContentLine, node.ContentKey, node.ContentJSON, node.ContentCertificates, node.ContentPrivateKey} {
			got, err := node.Reader{}.SealFile(t.Context(), node.SealFile{Option: "o", Reference: node.Reference("file:" + path), Content: c})
			value := got.Reveal()
			switch {
			case err != nil && len(value) > 0:
				t.Fatalf("content %d: a value beside %v", c, err)
			case err == nil && c == node.ContentLine && (len(value) == 0 || bytes.ContainsAny(value, "\r\n\x00")):
				t.Fatalf("a line that is none: %q", value)
			case err == nil && c == node.ContentKey && len(value) != 44:
				t.Fatalf("a key of %d characters", len(value))
			}
		}
	})
}
