package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/strongroom/strongroom/internal/node"
)

const (
	dialTime = 5 * time.Second
	// maxSkew is how far the clocks of two members may be apart. Tokens, leases and certificates are judged by the clock of whichever is
	// active; chrony keeps both within milliseconds.
	maxSkew = 30 * time.Second
)

// problem is why a candidate cannot be joined.
type problem struct {
	what  string
	hint  string
	final bool // it stays so until somebody changes something
}

// proof is what is known of a candidate.
type proof struct {
	candidate
	client  *client
	says    seen
	problem *problem
}

// local is what a candidate must match.
type local struct {
	seal        string
	version     string
	clusterName string
}

// prove asks one candidate everything that can be known of it before a join: it is reachable, its certificate leads to the
// cluster's authorities and names it, the clocks agree, the server is unsealed, of the same cluster, with the same seal, and not newer.
func prove(ctx context.Context, c candidate, own local) proof {
	p := proof{candidate: c}
	at, err := c.hostPort()
	if err != nil {
		p.problem = &problem{err.Error(), "members are joined over TLS: write https://HOST:PORT", true}
		return p
	}
	t := c.trust()
	if p.problem = shakeHands(ctx, at, t); p.problem != nil {
		return p
	}
	p.client = newClient(c.address, t)
	if p.says, err = look(ctx, p.client); err != nil {
		p.problem = &problem{"does not answer as a server does: " + words(err), "is this the API's address?", false}
		return p
	}
	p.problem = p.says.compare(own)
	return p
}

// compare gives the first reason why a member with these answers cannot be joined.
func (s seen) compare(own local) *problem {
	switch {
	case !s.initialized:
		return &problem{"is not initialized", "initialize the cluster, or take this address out of node.hcl or DNS", false}
	case s.removed:
		return &problem{"was removed from its cluster", "take it out of node.hcl or DNS", true}
	case s.sealed:
		return &problem{"is sealed", "unseal it", false}
	case s.clockKnown && s.clock.Abs() > maxSkew:
		direction := "ahead of"
		if s.clock < 0 {
			direction = "behind"
		}
		return &problem{fmt.Sprintf("has a clock that is %s %s this node's", s.clock.Abs().Round(time.Second), direction),
			"see to the time servers of both: chronyc tracking", false}
	case s.seal != "" && own.seal != "" && s.seal != own.seal:
		return &problem{fmt.Sprintf("has seal %s, this node has %s", s.seal, own.seal), "give this node the seal of the cluster in node.hcl", true}
	case own.clusterName != "" && s.clusterName != "" && s.clusterName != own.clusterName:
		return &problem{fmt.Sprintf("belongs to cluster %q, this node to %q", s.clusterName, own.clusterName), "correct cluster.name or the addresses in node.hcl", true}
	case older(own.version, s.version):
		return &problem{fmt.Sprintf("runs %s, this node %s, which is older", s.version, own.version), "bake a new image of this node", true}
	case !s.active && s.leader == "":
		return &problem{"knows no active node", "look at the cluster: has it a quorum?", false}
	}
	return nil
}

// shakeHands tries TCP and then TLS, so that each can be named.
func shakeHands(ctx context.Context, at string, t trust) *problem {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	conn, p := reach(ctx, at)
	if p != nil {
		return p
	}
	defer conn.Close()
	config := t.config()
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(at)
	}
	err := tls.Client(conn, config).HandshakeContext(ctx)
	if err == nil {
		return nil
	}
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &name):
		return &problem{fmt.Sprintf("has a certificate that is not good for %s", config.ServerName) + names(name.Certificate),
			"issue it with that name, or say in node.hcl which name it has (server_name)", true}
	case errors.As(err, &authority):
		return &problem{"has a certificate of an authority that this cluster does not know", "put the authority into strongroom.tls.ca, or into leader.ca of node.hcl", true}
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return &problem{fmt.Sprintf("has a certificate that is valid from %s to %s; this node's clock says %s", stamp(invalid.Cert.NotBefore), stamp(invalid.Cert.NotAfter), stamp(time.Now())),
			"renew the certificate, or see to the clocks", false}
	case errors.As(err, &invalid):
		return &problem{"has a certificate that cannot be believed: " + invalid.Error(), "issue a new one", true}
	}
	return &problem{"does not speak TLS as a server does: " + err.Error(), "is this the API's address?", false}
}

// reach makes a TCP connection.
func reach(ctx context.Context, at string) (net.Conn, *problem) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", at)
	if err == nil {
		return conn, nil
	}
	var dns *net.DNSError
	hint := "is it up, and do the firewalls of both sides let this node through (cluster_peers)?"
	switch {
	case errors.As(err, &dns):
		return nil, &problem{"has a name that cannot be looked up: " + dns.Error(), "check the address in node.hcl and the name servers", false}
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, &problem{"refuses the connection to " + at, hint, false}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.EHOSTUNREACH):
		return nil, &problem{"does not answer at " + at, hint, false} // no route: on the node's own network nobody has the address
	}
	return nil, &problem{"cannot be reached: " + err.Error(), hint, false}
}

func names(c *x509.Certificate) string {
	if c == nil {
		return ""
	}
	all := append([]string{}, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return "; it has no subject alternative name at all"
	}
	return "; it has " + strings.Join(all, ", ")
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// choose asks all candidates and gives the active node, or a standby that can hand the request on. Every candidate is in
// the list, with its problem.
func choose(ctx context.Context, id node.Identity, candidates []candidate, own local) (leader *proof, all []proof) {
	all = make([]proof, len(candidates))
	done := make(chan int)
	for i, c := range candidates {
		go func() {
			all[i] = prove(ctx, c, own)
			done <- i
		}()
	}
	for range candidates {
		<-done
	}
	var standby *proof
	for i := range all {
		switch {
		case all[i].problem != nil:
		case all[i].says.active:
			leader = &all[i]
		case standby == nil:
			standby = &all[i]
		}
	}
	if leader == nil && standby != nil {
		// The answer about the active node is followed.
		next := candidate{standby.says.leader, id.Join.ServerName, standby.ca}
		for _, p := range all {
			if p.address == next.address {
				next = p.candidate
			}
		}
		switch {
		case next.address == strings.TrimSuffix(id.APIAddr, "/") && next.address != standby.address:
			// All members go by one address, that of their load balancer: a standby hands the request on.
			leader = standby
		default:
			p := prove(ctx, next, own)
			if p.problem == nil && !p.says.active {
				p.problem = &problem{"is said to be the active node by " + standby.address + ", and says that it is not", "look at the cluster: is there an election?", false}
			}
			all = append(all, p)
			if p.problem == nil {
				leader = &all[len(all)-1]
			}
		}
	}
	if leader != nil && leader.says.active {
		if p := reachCluster(ctx, leader.says.leaderCluster); p != nil {
			leader.problem, leader = p, nil
		}
	}
	return leader, all
}

// reachCluster tries the port over which the log is replicated.
func reachCluster(ctx context.Context, address string) *problem {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil // redacted
	}
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	conn, p := reach(ctx, u.Host)
	if p != nil {
		p.what = "answers, but its Raft port " + p.what
		return p
	}
	conn.Close()
	return nil
}

func peers(all []proof) []Peer {
	var out []Peer
	for _, p := range all {
		peer := Peer{Address: p.address}
		if p.problem != nil {
			peer.Problem = p.problem.what
		}
		out = append(out, peer)
	}
	return out
}

// verdict says why there is no leader among the candidates.
func verdict(all []proof) *Refusal {
	if len(all) == 0 {
		return failed("name a leader, an SRV record or auto_join in node.hcl", "no member of the cluster was found")
	}
	var reasons []string
	final, hint := true, ""
	for _, p := range all {
		if p.problem == nil {
			continue
		}
		reasons = append(reasons, p.address+" "+p.problem.what)
		final = final && p.problem.final
		if hint == "" || p.problem.final {
			hint = p.problem.hint
		}
	}
	if len(reasons) == 0 {
		return failed("", "no member knows an active node")
	}
	return &Refusal{Kind: ByJoin, Final: final, Reason: strings.Join(reasons, "; "), hint: hint}
}

// nobodyIsInitialized reports whether all that answer are empty. A member that answers and cannot be believed may well hold
// the cluster: whoever were told to initialize another one would end with two.
func nobodyIsInitialized(all []proof) bool {
	empty := false
	for _, p := range all {
		switch {
		case p.problem == nil, p.problem.final, p.says.initialized:
			return false
		case p.says.version != "" || p.client != nil && p.problem.what == "is not initialized":
			empty = true
		}
	}
	return empty
}
