package cluster

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/node"
)

// candidate is an address at which a member may answer, and how it proves itself.
type candidate struct {
	address    string // URL of the API: "https://vault-1.example.net:8200"
	serverName string // that its certificate must have; empty: the host of the address
	ca         string // PEM of the authorities that it is believed with
}

func (c candidate) trust() trust {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(c.ca))
	return trust{authorities: pool, serverName: c.serverName}
}

// hostPort splits the address, with the default port of https.
func (c candidate) hostPort() (string, error) {
	u, err := url.Parse(c.address)
	if err != nil {
		return "", err
	}
	if u.Scheme != "https" || u.Hostname() == "" {
		return "", fmt.Errorf("%q is no https address", c.address)
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}

// Resolver looks names up; a net.Resolver is one.
type Resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

const (
	findTime = 10 * time.Second
	// maxCandidates bounds what a name server can make this node ask. A cluster has seven voters at most.
	maxCandidates = 32
)

// find lists the candidates: the leaders of node.hcl, then what DNS knows, each once. What could not be found is an error
// beside what could.
func find(ctx context.Context, id node.Identity, resolver Resolver, discover Discover) ([]candidate, error) {
	ctx, cancel := context.WithTimeout(ctx, findTime)
	defer cancel()
	var found []candidate
	var errs []error
	known := map[string]bool{}
	add := func(c candidate) {
		c.address = strings.TrimSuffix(c.address, "/")
		if !known[c.address] && len(found) < maxCandidates {
			known[c.address] = true
			found = append(found, c)
		}
	}
	for _, l := range id.Join.Leaders {
		ca := l.CA
		if ca == "" {
			ca = id.CA
		}
		add(candidate{l.Address, l.ServerName, ca})
	}
	scheme := id.Join.Scheme
	if scheme == "" {
		scheme = "https"
	}
	if name := id.Join.SRV; name != "" {
		_, records, err := resolver.LookupSRV(ctx, "", "", name)
		if err != nil {
			errs = append(errs, node.Hinted(fmt.Errorf("cannot look up the SRV records of %s: %w", name, err), "check join.srv in node.hcl and the name servers"))
		}
		for _, r := range records {
			host := strings.TrimSuffix(r.Target, ".")
			add(candidate{scheme + "://" + net.JoinHostPort(host, strconv.Itoa(int(r.Port))), id.Join.ServerName, id.CA})
		}
	}
	if id.Join.AutoJoin != "" {
		addresses, err := discover(ctx, id.Join.AutoJoin)
		if err != nil {
			errs = append(errs, fmt.Errorf("cannot find members by auto_join: %w", err))
		}
		port := id.Join.Port
		if port == 0 {
			port = 8200
		}
		for _, a := range addresses {
			add(candidate{scheme + "://" + net.JoinHostPort(a, strconv.Itoa(port)), id.Join.ServerName, id.CA})
		}
	}
	return found, errors.Join(errs...)
}

// Discover finds the addresses of members by a go-discover string.
type Discover func(ctx context.Context, config string) ([]string, error)
