package network

import (
	"bytes"
	"net"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
)

const (
	dhcpPort  = 67
	leaseTime = 24 * time.Hour
)

// serveDHCP gives each machine the address of its lease, and nobody else an answer.
func (n *Network) serveDHCP() error {
	conn, err := n.listenBroadcast(dhcpPort)
	if err != nil {
		return err
	}
	server, err := server4.NewServer("", nil, func(conn net.PacketConn, peer net.Addr, request *dhcpv4.DHCPv4) {
		reply, err := n.lease(request)
		if err != nil {
			n.log.Debug("cannot answer a DHCP request", "error", err)
			return
		}
		if reply != nil {
			conn.WriteTo(reply.ToBytes(), peer)
		}
	}, server4.WithConn(conn))
	if err != nil {
		return err
	}
	n.run(func() { server.Serve() })
	return nil
}

// lease is the answer to a request; nil for none.
func (n *Network) lease(request *dhcpv4.DHCPv4) (*dhcpv4.DHCPv4, error) {
	lease, ok := n.find(func(l *Lease) bool { return bytes.Equal(l.MAC[:], request.ClientHWAddr) })
	if !ok {
		return nil, nil
	}
	answer := dhcpv4.MessageTypeOffer
	switch request.MessageType() {
	case dhcpv4.MessageTypeDiscover:
	case dhcpv4.MessageTypeRequest:
		answer = dhcpv4.MessageTypeAck
		asked := request.RequestedIPAddress()
		if asked == nil {
			asked = request.ClientIPAddr
		}
		if !asked.Equal(lease.Address.AsSlice()) {
			answer = dhcpv4.MessageTypeNak
		}
	default:
		return nil, nil
	}
	gateway := net.IP(Gateway.AsSlice())
	reply, err := dhcpv4.NewReplyFromRequest(request, dhcpv4.WithMessageType(answer), dhcpv4.WithServerIP(gateway),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(gateway)))
	if err != nil || answer == dhcpv4.MessageTypeNak {
		return reply, err
	}
	reply.YourIPAddr = lease.Address.AsSlice()
	for _, option := range []dhcpv4.Option{
		dhcpv4.OptSubnetMask(net.CIDRMask(Subnet.Bits(), 32)),
		dhcpv4.OptRouter(gateway),
		dhcpv4.OptDNS(gateway),
		dhcpv4.OptNTPServers(gateway),
		dhcpv4.OptDomainName(Domain),
		dhcpv4.OptIPAddressLeaseTime(leaseTime),
	} {
		reply.UpdateOption(option)
	}
	reply.BootFileName = lease.boot.file(request)
	if reply.BootFileName != "" && fromHTTP(request) {
		reply.UpdateOption(dhcpv4.OptClassIdentifier(httpClient))
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for code, value := range lease.options { // the map is the lease's own
		reply.UpdateOption(dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(code), value))
	}
	return reply, nil
}
