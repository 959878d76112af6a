package node

import (
	"net"
	"net/netip"
	"slices"

	"github.com/hashicorp/hcl/v2"
)

// checkReach finds addresses that node.hcl names and its own firewall keeps away: the node would wait for them for ever. Names
// are not resolved, so only addresses are judged.
func checkReach(c *Config, at locator, wrong *Mistakes) {
	join := at.block("join")
	if c.Join.Some() && len(c.Firewall.ClusterPeers) == 0 {
		wrong.add(at.start("join"), "put the members' networks into firewall.cluster_peers", "join: firewall.cluster_peers is empty, so no member can be reached")
	}
	if c.Join.AutoJoin != "" && len(c.Firewall.Egress) == 0 {
		wrong.add(join.attribute("auto_join"), "put the networks of the cloud's API into firewall.egress (docs/join.md)", "auto_join: firewall.egress is empty, so the cloud cannot be asked")
	}
	for i, leader := range c.Join.Leaders {
		reach(Host(leader.Address), "cluster_peers", c.Firewall.ClusterPeers, join.blocks("leader").at(i).attribute("address"), wrong)
	}
	if address := c.Seal.Options["address"]; address != "" {
		reach(Host(address), "egress", c.Firewall.Egress, at.block("seal").attribute("address"), wrong)
	}
	for i, place := range c.Recovery.DeliverTo {
		if place != OnNode {
			reach(Host(place), "egress", c.Firewall.Egress, at.block("recovery").element("deliver_to", i), wrong)
		}
	}
	if c.Snapshot != nil {
		sinks := at.block("snapshot").blocks("sink")
		for i, sink := range c.Snapshot.Sinks {
			sink.reachable(c.Firewall, at.start("snapshot"), sinks.at(i), wrong)
		}
	}
	if c.Logs != nil {
		if len(c.Firewall.LogReceivers) == 0 {
			wrong.add(at.start("logs"), "put its address into firewall.log_receivers", "logs: firewall.log_receivers is empty, so the receiver cannot be reached")
		} else {
			reach(Host(c.Logs.Receiver), "log_receivers", c.Firewall.LogReceivers, at.block("logs").attribute("receiver"), wrong)
		}
	}
	for i, r := range c.Retire {
		if r.Type != RetireAWS {
			continue // the metadata service alone is asked
		}
		block := at.blocks("retire").at(i)
		if len(c.Firewall.Egress) == 0 {
			wrong.add(at.start("retire"), "put the networks of EC2 Auto Scaling's API into firewall.egress (docs/retire.md)", "retire \"aws\": firewall.egress is empty, so the hook cannot be completed")
		} else if endpoint := r.Options["endpoint"]; endpoint != "" {
			reach(Host(endpoint), "egress", c.Firewall.Egress, block.attribute("endpoint"), wrong)
		}
	}
	telemetry := at.block("telemetry")
	if c.Telemetry.OTLPEndpoint != "" {
		reach(Host(c.Telemetry.OTLPEndpoint), "egress", c.Firewall.Egress, telemetry.attribute("otlp_endpoint"), wrong)
	}
	for name, address := range map[string]string{"statsd_address": c.Telemetry.StatsDAddress, "dogstatsd_addr": c.Telemetry.DogStatsDAddr} {
		if host, _, err := net.SplitHostPort(address); err == nil {
			reach(host, "egress", c.Firewall.Egress, telemetry.attribute(name), wrong)
		}
	}
}

// reachable finds a store that the node's own firewall keeps away.
func (s SnapshotSink) reachable(firewall Firewall, block hcl.Range, at locator, wrong *Mistakes) {
	if s.Type == "file" {
		return
	}
	if len(firewall.Egress) == 0 {
		wrong.add(block, "put its networks into firewall.egress (docs/snapshot.md)", "firewall.egress is empty, so %s cannot be reached", s.Name())
	} else if endpoint := s.Options["endpoint"]; endpoint != "" {
		reach(Host(endpoint), "egress", firewall.Egress, at.attribute("endpoint"), wrong)
	}
}

func reach(host, set string, networks []netip.Prefix, at hcl.Range, wrong *Mistakes) {
	ip, err := netip.ParseAddr(host)
	if err != nil || ip.IsLoopback() || slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(ip) }) {
		return
	}
	wrong.add(at, "add it, or its network, to firewall."+set, "%s is not in firewall.%s, so the node cannot reach it", host, set)
}
