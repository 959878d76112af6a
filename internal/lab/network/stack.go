package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

const nic tcpip.NICID = 1

// hostMAC is the Ethernet address of our host, locally administered like those of the machines.
var hostMAC = MAC{0x52, 0x54, 0x00, 0x00, 0x02, 0x02}

// hostStack is the TCP/IP stack of our host on the segment. It forwards nothing: a packet for an address that is not its
// own is dropped.
type hostStack struct {
	*stack.Stack
	link *channel.Endpoint

	mu        sync.Mutex
	addresses []netip.Addr
}

func newHostStack() (*hostStack, error) {
	s := &hostStack{
		Stack: stack.New(stack.Options{
			NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
			TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
		}),
		link: channel.New(backlog, longestFrame, tcpip.LinkAddress(hostMAC[:])),
	}
	if err := s.CreateNIC(nic, ethernet.New(s.link)); err != nil {
		return nil, fmt.Errorf("cannot create the network's interface: %s", err)
	}
	// Without selective acknowledgements one lost frame costs a slow emulated guest a second.
	sack := tcpip.TCPSACKEnabled(true)
	if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, &sack); err != nil {
		return nil, fmt.Errorf("cannot set up TCP: %s", err)
	}
	subnet, err := tcpip.NewSubnet(tcpip.AddrFrom4(Subnet.Masked().Addr().As4()), tcpip.MaskFromBytes([]byte{255, 255, 255, 0}))
	if err != nil {
		return nil, err
	}
	s.SetRouteTable([]tcpip.Route{{Destination: subnet, NIC: nic}})
	for _, a := range []netip.Addr{Gateway, Host} {
		if err := s.own(a); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// own makes the host answer for an address, once.
func (s *hostStack) own(a netip.Addr) error {
	if !a.Is4() {
		return fmt.Errorf("the segment has no IPv6, and so not %s", a)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.addresses, a) {
		return nil
	}
	bits := 32
	if Subnet.Contains(a) {
		bits = Subnet.Bits()
	}
	err := s.AddProtocolAddress(nic, tcpip.ProtocolAddress{
		Protocol:          ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4(a.As4()), PrefixLen: bits},
	}, stack.AddressProperties{})
	if err != nil {
		return fmt.Errorf("cannot take the address %s: %s", a, err)
	}
	s.addresses = append(s.addresses, a)
	return nil
}

// inject gives the stack a frame.
func (s *hostStack) inject(frame []byte) {
	packet := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(frame)})
	defer packet.DecRef()
	s.link.InjectInbound(0, packet) // the protocol is in the frame
}

// send passes on the frames of the stack until ctx ends.
func (s *hostStack) send(ctx context.Context, carry func([]byte)) {
	for {
		packet := s.link.ReadContext(ctx)
		if packet == nil {
			return
		}
		view := packet.ToView()
		frame := slices.Clone(view.AsSlice())
		view.Release()
		packet.DecRef()
		carry(frame)
	}
}

func (s *hostStack) close() {
	s.link.Close()
	s.Close()
	s.Wait()
}

func fullAddress(a netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFrom4(a.Addr().As4()), Port: a.Port()}
}

var errNotIPv4 = errors.New("not an IPv4 address")
