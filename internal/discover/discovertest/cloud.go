// Package discovertest has clouds for tests: metadata services and APIs that ask of a request what the providers' documentation asks of it.
package discovertest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/strongroom/strongroom/internal/discover"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/node/nodetest"
)

// metadata is where the services of all three answer.
const metadata = "169.254.169.254:80"

// Network is what an instance can reach: names that lead to servers of the test.
type Network struct {
	t     testing.TB
	CA    *nodetest.CA // that the instance believes
	mu    sync.Mutex
	hosts map[string]string // "host:port" → where it is served
}

// NewNetwork has nobody in it.
func NewNetwork(t testing.TB) *Network {
	t.Helper()
	return &Network{t: t, CA: nodetest.NewCA(t, nodetest.Today()), hosts: map[string]string{}}
}

// Serve puts an API behind https://HOST, with a certificate of an authority.
func (n *Network) Serve(host string, ca *nodetest.CA, h http.Handler) {
	n.t.Helper()
	cert, key := ca.Issue(nodetest.Today(), host)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		n.t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(h)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	n.t.Cleanup(server.Close)
	n.at(host+":443", server)
}

// Metadata puts a metadata service where instances look for it.
func (n *Network) Metadata(h http.Handler) {
	n.t.Helper()
	server := httptest.NewServer(h)
	n.t.Cleanup(server.Close)
	n.at(metadata, server)
}

func (n *Network) at(address string, server *httptest.Server) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[address] = server.Listener.Addr().String()
}

func (n *Network) dial(ctx context.Context, network, address string) (net.Conn, error) {
	n.mu.Lock()
	to, known := n.hosts[address]
	n.mu.Unlock()
	if !known {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	return (&net.Dialer{}).DialContext(ctx, network, to)
}

// Finder is that of an instance on a platform, in this network.
func (n *Network) Finder(on node.Platform) *discover.Finder {
	n.t.Helper()
	root := n.t.TempDir()
	fields := map[node.Platform][2]string{
		node.AWS: {"sys_vendor", "Amazon EC2"}, node.GCP: {"product_name", "Google Compute Engine"},
		node.Azure: {"chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77"},
	}
	if field, ok := fields[on]; ok {
		path := filepath.Join(root, "sys/class/dmi/id", field[0])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			n.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(field[1]+"\n"), 0o600); err != nil {
			n.t.Fatal(err)
		}
	}
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(n.CA.PEM)
	return &discover.Finder{
		Instance: &node.Sources{
			Root: root, Metadata: []netip.Prefix{netip.MustParsePrefix("169.254.169.254/32")},
			Fetcher: node.Fetcher{Dial: n.dial}, Log: slog.New(slog.DiscardHandler),
		},
		Authorities: authorities, Dial: n.dial,
	}
}
