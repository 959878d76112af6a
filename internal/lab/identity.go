package lab

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/strongroom/strongroom/internal/lab/network"
)

// Identity is who a node of the lab is: what its node.hcl and its certificate are made from.
type Identity struct {
	Host     string     // "node-1.lab"
	Address  netip.Addr // on the lab's network
	Services Services
	Blocks   []string // further blocks of node.hcl: join, seal, auth
}

// identityOf is the identity of a machine with this lease.
func identityOf(lease *network.Lease, services Services, blocks ...string) Identity {
	return Identity{Host: lease.Host(), Address: lease.Address, Services: services, Blocks: blocks}
}

// config is the node's node.hcl. Every forwarded connection comes from the gateway; the members of a cluster are in one
// part of the network. Nothing but the host of the lab is beyond the node's own network.
func (i Identity) config() string {
	var b strings.Builder
	fmt.Fprintf(&b, `cluster {
  name = "lab"
}
api_addr     = "https://%[1]s:%[2]d"
cluster_addr = "https://%[1]s:%[3]d"
firewall {
  api_clients    = [%[4]q]
  cluster_peers  = [%[5]q]
  monitoring     = [%[4]q]
  load_balancers = []
  log_receivers  = [%[6]q]
  egress         = [%[6]q]
}
`, i.Host, i.Services.API, i.Services.Raft, network.Gateway, network.Machines, network.Host)
	for _, block := range i.Blocks {
		b.WriteString(block)
	}
	return b.String()
}
