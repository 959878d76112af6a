package host_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/node/nodetest"
)

// serve starts a TLS server that answers like a sealed Vault, and gives its address and a live host that
// has the authorities at /ca.crt.
func serve(t *testing.T, ca *nodetest.CA, valid nodetest.Validity, config *tls.Config) (string, *host.LiveHost) {
	t.Helper()
	cert, key := ca.Issue(valid, "vault-1.example.net", "10.1.2.3", "2001:db8::1")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	config.Certificates = []tls.Certificate{pair}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{TLSConfig: config, ReadHeaderTimeout: time.Second, ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Strict-Transport-Security", "max-age=31536000")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"sealed":true,"version":"1.21.1"}`))
	})}
	go func() { _ = server.ServeTLS(listener, "", "") }()
	t.Cleanup(func() { server.Close() })
	return listener.Addr().String(), liveWith(t, map[string][]byte{"ca.crt": ca.PEM})
}

func liveWith(t *testing.T, files map[string][]byte) *host.LiveHost {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h, err := host.Live(host.LiveOptions{Root: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func accepted(l host.TLSListener) string {
	var out []string
	for _, v := range l.Versions {
		if v.Accepted {
			out = append(out, v.Version)
		}
	}
	return strings.Join(out, " ")
}

func TestTLSListener(t *testing.T) {
	ca := nodetest.NewCA(t, nodetest.Today())
	address, h := serve(t, ca, nodetest.Today(), &tls.Config{MinVersion: tls.VersionTLS12})
	seen, err := h.TLSListener(t.Context(), address, "/ca.crt")
	if err != nil {
		t.Fatal(err)
	}
	if accepted(seen) != "1.2 1.3" || seen.WeakSuite != "" || seen.Untrusted != "" || seen.Plaintext != 0 {
		t.Errorf("%+v", seen)
	}
	if want := (host.Health{Status: 503, HSTS: "max-age=31536000", Version: "1.21.1"}); seen.Health != want {
		t.Errorf("health %+v, want %+v", seen.Health, want)
	}
	c := seen.Certificate
	if c == nil || c.KeyType != "ECDSA" || c.KeyBits != 256 || c.Signature != "ECDSA-SHA256" || c.SelfSigned || c.Issuer != "CN=test authority" {
		t.Fatalf("certificate %+v", c)
	}
	for name, good := range map[string]bool{"vault-1.example.net": true, "VAULT-1.example.net": true, "10.1.2.3": true, "2001:db8::1": true,
		"vault-2.example.net": false, "10.1.2.4": false, "": false} {
		if err := c.Covers(name); (err == nil) != good {
			t.Errorf("Covers(%q): %v", name, err)
		}
	}
	if since := time.Since(seen.Checked); since < 0 || since > time.Minute {
		t.Errorf("looked at %s", seen.Checked)
	}

	// What was seen once is the answer for the whole run, and travels in a recording.
	recorder := host.NewRecorder(h)
	again, err := recorder.TLSListener(t.Context(), address, "/ca.crt")
	if err != nil || !again.Checked.Equal(seen.Checked) {
		t.Errorf("asked twice: %v, %v", again.Checked, err)
	}
	var b bytes.Buffer
	if _, err := recorder.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	replay, err := host.Replay(&b)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := replay.TLSListener(t.Context(), address, "/ca.crt"); err != nil || !reflect.DeepEqual(got, seen) {
		t.Errorf("replayed %+v, %v, want %+v", got, err, seen)
	}
}

func TestTLSListenerSeesWhatIsWrong(t *testing.T) {
	ca := nodetest.NewCA(t, nodetest.Today())
	t.Run("old versions and weak suites", func(t *testing.T) {
		address, h := serve(t, ca, nodetest.Today(), &tls.Config{MinVersion: tls.VersionTLS10, CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}})
		seen, err := h.TLSListener(t.Context(), address, "/ca.crt")
		if err != nil || accepted(seen) != "1.0 1.1 1.2 1.3" || seen.WeakSuite != "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256" {
			t.Errorf("%+v, %v", seen, err)
		}
	})
	t.Run("another authority", func(t *testing.T) {
		address, _ := serve(t, ca, nodetest.Today(), &tls.Config{})
		h := liveWith(t, map[string][]byte{"ca.crt": nodetest.NewCA(t, nodetest.Today()).PEM})
		if seen, err := h.TLSListener(t.Context(), address, "/ca.crt"); err != nil || seen.Untrusted == "" {
			t.Errorf("%+v, %v", seen, err)
		}
	})
	t.Run("expired, which is not the same as untrusted", func(t *testing.T) {
		long := nodetest.Validity{From: time.Now().Add(-240 * time.Hour), Until: time.Now().Add(time.Hour)}
		old := nodetest.NewCA(t, long)
		address, h := serve(t, old, nodetest.Validity{From: long.From, Until: time.Now().Add(-time.Hour)}, &tls.Config{})
		seen, err := h.TLSListener(t.Context(), address, "/ca.crt")
		if err != nil || seen.Untrusted != "" || !seen.Certificate.NotAfter.Before(seen.Checked) {
			t.Errorf("%+v, %v", seen, err)
		}
	})
	t.Run("a client's certificate is asked for", func(t *testing.T) {
		for _, newest := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			address, h := serve(t, ca, nodetest.Today(), &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool(), MaxVersion: newest})
			seen, err := h.TLSListener(t.Context(), address, "/ca.crt")
			if err != nil || !strings.HasPrefix(accepted(seen), "1.2") || seen.Certificate == nil || seen.Health.Status != 0 || seen.Health.Error == "" {
				t.Errorf("%+v, %v", seen, err)
			}
		}
	})
	t.Run("no TLS", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{ReadHeaderTimeout: time.Second}
		go func() { _ = server.Serve(listener) }()
		t.Cleanup(func() { server.Close() })
		seen, err := liveWith(t, map[string][]byte{"ca.crt": ca.PEM}).TLSListener(t.Context(), listener.Addr().String(), "/ca.crt")
		if err != nil || accepted(seen) != "" || seen.Certificate != nil || seen.Plaintext != http.StatusNotFound {
			t.Errorf("%+v, %v", seen, err)
		}
	})
}

// What cannot be asked gives an error and no facts.
func TestTLSListenerThatCannotBeAsked(t *testing.T) {
	ca := nodetest.NewCA(t, nodetest.Today())
	address, _ := serve(t, ca, nodetest.Today(), &tls.Config{})
	deaf, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	good := map[string][]byte{"ca.crt": ca.PEM}
	for name, c := range map[string]struct {
		address string
		files   map[string][]byte
		says    string
	}{
		"nobody listens":       {closed.Addr().String(), good, "connection refused"},
		"it does not answer":   {deaf.Addr().String(), good, "cannot finish a handshake"},
		"no authorities":       {address, nil, "cannot read the authorities"},
		"authorities of noise": {address, map[string][]byte{"ca.crt": pem.EncodeToMemory(&pem.Block{Type: "NOISE"})}, "no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if seen, err := liveWith(t, c.files).TLSListener(ctx, c.address, "/ca.crt"); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%+v, %v", seen, err)
			}
		})
	}
}
