package agent

import (
	"crypto/tls"

	"github.com/strongroom/strongroom/internal/cluster"
	"github.com/strongroom/strongroom/internal/node"
)

// LocalServer is this node's server, asked as this node.
func LocalServer(id node.Identity, addr, credentials string) (*cluster.Server, func() (*tls.Certificate, error)) {
	certificate := certificateOf(credentials)
	name := ""
	if c, err := certificate(); err == nil {
		name = serverName(c.Leaf)
	}
	return cluster.NewServer(addr, name, id.CA, certificate), certificate
}

// BootstrapReader reads what the bootstrap block refers to. It believes the cluster's authorities beside the image's, and shows the node's
// certificate to a server that asks.
func BootstrapReader(id node.Identity, credentials string) node.Reader {
	r := node.Reader{Credentials: credentials}.Believing([]byte(id.CA))
	if c, err := certificateOf(credentials)(); err == nil {
		r.Certificate = []tls.Certificate{*c}
	}
	return r
}
