package agent

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/node/nodetest"
)

// leave puts material where configure does, as a directory that was not there before.
func leave(t *testing.T, dir string, m node.Material) {
	t.Helper()
	fresh := t.TempDir()
	for name, content := range map[string][]byte{"tls.crt": m.Cert, "tls.key": m.Key.Reveal(), "ca.crt": m.CA} {
		if err := os.WriteFile(filepath.Join(fresh, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The old one stays for as long as the test, so that the new one is no reuse of its number.
	if err := os.Rename(dir, filepath.Join(t.TempDir(), "old")); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if err := os.Rename(fresh, dir); err != nil {
		t.Fatal(err)
	}
}

func TestRenewable(t *testing.T) {
	ca := nodetest.NewCA(t, nodetest.Today())
	creds := ca.Credentials("", "node.example")
	dir := filepath.Join(t.TempDir(), "tls")
	m := newMachine(t)
	ends := map[string]time.Time{}
	r := newRenewable(dir, nodetest.WriteCredentials(t, creds), m.agent.Log, func(name string, end time.Time) { ends[name] = end })

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler()}
	go func() { _ = server.Serve(tls.NewListener(l, r.serverTLS())) }()
	t.Cleanup(func() { server.Close() })
	shown := func() *x509.Certificate {
		t.Helper()
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(ca.PEM)
		conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "node.example"})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0]
	}
	first := shown()
	if !ends["node"].Equal(first.NotAfter) || ends["ca"].IsZero() {
		t.Errorf("what is said to end: %v", ends)
	}

	if !r.refresh() || !shown().Equal(first) {
		t.Error("without anything new something changed")
	}
	later := nodetest.Validity{From: time.Now().Add(-time.Hour), Until: time.Now().Add(20 * time.Hour)}
	cert, key := ca.Issue(later, "node.example")
	renewed := node.Material{Cert: cert, Key: node.NewSecret(key), CA: ca.PEM}
	leave(t, dir, renewed)
	if !r.refresh() {
		t.Error("a new certificate of the same authority ends the agent")
	}
	second := shown()
	if second.Equal(first) || !ends["node"].Equal(second.NotAfter) {
		t.Error("the port does not show the new certificate")
	}

	broken := renewed
	broken.Key = creds.Key
	leave(t, dir, broken)
	if !r.refresh() || !shown().Equal(second) {
		t.Error("a key of another certificate was taken")
	}

	other := nodetest.NewCA(t, nodetest.Today()).Credentials("", "node.example")
	leave(t, dir, other.Material)
	if r.refresh() {
		t.Error("clients go on with authorities that are no longer the node's")
	}
}

// A port that was in the clear cannot change: the agent starts again when there is a certificate.
func TestRenewableFromNothing(t *testing.T) {
	m := newMachine(t)
	dir := filepath.Join(t.TempDir(), "tls")
	r := newRenewable(dir, "", m.agent.Log, func(string, time.Time) {})
	if r.serverTLS() != nil {
		t.Error("TLS without a certificate")
	}
	leave(t, dir, nodetest.NewCA(t, nodetest.Today()).Credentials("", "a").Material)
	if r.refresh() {
		t.Error("the agent goes on in the clear")
	}
}
