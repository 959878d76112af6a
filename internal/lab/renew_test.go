//go:build boot

package lab

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/lab/network"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/overlay"
)

// pki is a server from which nodes fetch their TLS material.
type pki struct {
	mu        sync.Mutex
	cert, key []byte
	asked     int
}

func (p *pki) offer(cert, key []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cert, p.key, p.asked = cert, key, 0
}

func (p *pki) times() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

func (p *pki) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch r.URL.Path {
	case "/node.pem":
		p.asked++
		_, _ = w.Write(p.cert)
	case "/node.key":
		_, _ = w.Write(p.key)
	default:
		http.NotFound(w, r)
	}
}

// TestBootRenews boots a node whose certificate lies behind a URL, and changes it there: server and agent show the new one
// without a restart. One that is not good is left where it is. The timer is faster than that of an image.
func TestBootRenews(t *testing.T) {
	segment, err := network.New(testLog())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { segment.Close() })
	authority := newAuthority(t)
	lease, err := segment.Lease("node-1", PortAPI)
	if err != nil {
		t.Fatal(err)
	}
	identity := identityOf(lease, Services{}.orUsual(), `
tls {
  cert = "https://host.lab:8443/node.pem"
  key  = "https://host.lab:8443/node.key"
}
`)
	issue := func(name string) (cert, key []byte) {
		t.Helper()
		cert, key, err := authority.issue(name, lease.Address)
		if err != nil {
			t.Fatal(err)
		}
		return cert, key
	}
	server := &pki{}
	server.offer(issue(lease.Host()))
	serve(t, segment, authority, server)

	disk := variant(t, "renew", overlay.File(unitDir+"hostcheck-renew.timer.d/99-fast.conf",
		"[Timer]\nOnActiveSec=\nOnUnitInactiveSec=\nOnActiveSec=5\nOnUnitInactiveSec=5\nRandomizedDelaySec=0\nAccuracySec=1\n"))
	config := Config{
		Disk: newDisk(t, disk), UUID: NewUUID(), Network: segment,
		Credentials: []Credential{
			{node.CredentialConfig, node.NewSecret([]byte(identity.config()))},
			{node.CredentialCA, node.NewSecret(authority.CA())},
		},
		ConsoleLog: filepath.Join(t.TempDir(), "console.log"), Log: testLog(),
	}
	machine, err := Start(t.Context(), config.orUsual())
	if err != nil {
		t.Fatal(err)
	}
	node := &Node{machine, authority.ClientTLS()}
	t.Cleanup(func() { node.Close() })
	requirePass(t, verdictOf(t, node))
	first := shown(t, node)

	server.offer(issue(lease.Host()))
	var second [2]string
	await(t, node, "the renewed certificate", func() bool {
		second = shown(t, node)
		return second[0] != first[0] && second[1] != first[1]
	})
	if second[0] != second[1] {
		t.Errorf("server and agent show different certificates: %v", second)
	}

	server.offer(issue("other.lab"))
	await(t, node, "two more runs of the timer", func() bool { return server.times() > 2 })
	if third := shown(t, node); third != second {
		t.Errorf("a certificate for another name was taken: %v, was %v", third, second)
	}
	powerOff(t, node)
	requireUndisturbed(t, node, "vault")
}

// serve offers an HTTPS service on the lab's host.
func serve(t *testing.T, segment *network.Network, authority *Authority, handler http.Handler) {
	t.Helper()
	cert, key, err := authority.issue("host.lab", network.Host)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := segment.Listen(netip.AddrPortFrom(network.Host, 8443))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}}, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.ServeTLS(listener, "", "") }()
	t.Cleanup(func() { server.Close() })
}

// shown gives the numbers of the certificates that the server and the agent show.
func shown(t *testing.T, node *Node) (serials [2]string) {
	t.Helper()
	for i, port := range []int{PortAPI, PortTelemetry} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		conn, err := (&tls.Dialer{NetDialer: &net.Dialer{}, Config: node.trust}).DialContext(ctx, "tcp", node.Address(port))
		cancel()
		if err != nil {
			serials[i] = fmt.Sprint(err)
			continue
		}
		serials[i] = conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String()
		conn.Close()
	}
	return serials
}

func await(t *testing.T, node *Node, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), refusalTimeout)
	defer cancel()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatal(node.withConsole(fmt.Errorf("waiting for %s: %w", what, ctx.Err())))
		case <-node.Done():
			t.Fatal(node.withConsole(ErrStopped))
		case <-time.After(pollInterval):
		}
	}
}
