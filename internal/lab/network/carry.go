package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// Dial connects to a machine from the gateway's address.
func (n *Network) Dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	if !to.Addr().Is4() {
		return nil, fmt.Errorf("cannot connect to %s: %w", to, errNotIPv4)
	}
	from := fullAddress(netip.AddrPortFrom(Gateway, 0))
	conn, err := gonet.DialTCPWithBind(ctx, n.stack.Stack, from, fullAddress(to), ipv4.ProtocolNumber)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// Listen serves TCP on the segment, at any address: that of [Host], or one that machines expect to find somewhere, such as
// the metadata service of a cloud.
func (n *Network) Listen(at netip.AddrPort) (net.Listener, error) {
	if err := n.stack.own(at.Addr()); err != nil {
		return nil, err
	}
	listener, err := gonet.ListenTCP(n.stack.Stack, fullAddress(at), ipv4.ProtocolNumber)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s of the lab's network: %w", at, err)
	}
	return listener, n.keep(listener)
}

// ListenPacket serves UDP on the segment.
func (n *Network) ListenPacket(at netip.AddrPort) (net.PacketConn, error) {
	if err := n.stack.own(at.Addr()); err != nil {
		return nil, err
	}
	local := fullAddress(at)
	conn, err := gonet.DialUDP(n.stack.Stack, &local, nil, ipv4.ProtocolNumber)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s of the lab's network: %w", at, err)
	}
	return conn, n.keep(conn)
}

// listenBroadcast is ListenPacket on every address, for datagrams that are meant for all.
func (n *Network) listenBroadcast(port uint16) (net.PacketConn, error) {
	var queue waiter.Queue
	endpoint, err := n.stack.NewEndpoint(udp.ProtocolNumber, ipv4.ProtocolNumber, &queue)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on port %d of the lab's network: %s", port, err)
	}
	endpoint.SocketOptions().SetBroadcast(true)
	if err := endpoint.Bind(tcpip.FullAddress{NIC: nic, Port: port}); err != nil {
		endpoint.Close()
		return nil, fmt.Errorf("cannot listen on port %d of the lab's network: %s", port, err)
	}
	conn := gonet.NewUDPConn(&queue, endpoint)
	return conn, n.keep(conn)
}

// Forward carries connections from a free port of the real host's loopback to a port of a machine, and returns the
// address to connect to. It ends with stop or with the network.
func (n *Network) Forward(to netip.AddrPort) (address string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("cannot listen on the loopback: %w", err)
	}
	if err := n.keep(listener); err != nil {
		return "", nil, err
	}
	n.run(func() { n.relay(listener, func(ctx context.Context) (net.Conn, error) { return n.Dial(ctx, to) }) })
	return listener.Addr().String(), func() { n.drop(listener) }, nil
}

// Expose carries connections from a TCP port of [Host] to one service of the real host.
func (n *Network) Expose(port uint16, service string) error {
	listener, err := n.Listen(netip.AddrPortFrom(Host, port))
	if err != nil {
		return err
	}
	var dialer net.Dialer
	n.run(func() {
		n.relay(listener, func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", service) })
	})
	return nil
}

// relay accepts connections until the listener is closed, and carries each to a connection of its own.
func (n *Network) relay(listener net.Listener, dial func(context.Context) (net.Conn, error)) {
	for {
		near, err := listener.Accept()
		if err != nil {
			return
		}
		n.run(func() {
			defer n.drop(near)
			if n.keep(near) != nil {
				return
			}
			ctx, cancel := context.WithTimeout(n.ctx, dialTimeout)
			far, err := dial(ctx)
			cancel()
			if err != nil {
				return // near is closed: there is nobody
			}
			defer n.drop(far)
			if n.keep(far) == nil {
				splice(near, far)
			}
		})
	}
}

// dialTimeout allows for a guest that is emulated and busy.
const dialTimeout = 10 * time.Second

// splice copies both ways until both have ended. An end of one direction is passed on as such.
func splice(a, b net.Conn) {
	var group sync.WaitGroup
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		group.Add(1)
		go func() {
			defer group.Done()
			_, err := io.Copy(way[1], way[0])
			half, ok := way[1].(interface{ CloseWrite() error })
			if ok && err == nil {
				half.CloseWrite()
				return
			}
			// Broken: what is left of the other direction has nobody to go to.
			a.Close()
			b.Close()
		}()
	}
	group.Wait()
}

// ended tells whether a connection or listener has ended as it should.
func ended(err error) bool { return errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) }
