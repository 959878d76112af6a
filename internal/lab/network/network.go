package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// The addresses of the segment.
var (
	Subnet = netip.MustParsePrefix("10.0.2.0/24")
	// Gateway leases addresses, answers names and tells the time. Forwarded connections come from it.
	Gateway = netip.MustParseAddr("10.0.2.2")
	// Host is where services of the real host are exposed; its name is host.lab.
	Host = netip.MustParseAddr("10.0.2.3")
	// Machines is the part of the subnet that machines get their addresses from.
	Machines = netip.MustParsePrefix("10.0.2.64/26")
)

// Domain is the domain of every name on the segment.
const Domain = "lab"

// Service is the name of the SRV records that list the machines.
const Service = "_vault._tcp." + Domain

// Network is a segment. It lives until Close.
type Network struct {
	log    *slog.Logger
	stack  *hostStack
	wires  *wires
	ctx    context.Context // ends with the network
	cancel context.CancelFunc
	group  sync.WaitGroup

	mu      sync.Mutex
	leases  []*Lease
	closers map[io.Closer]struct{} // listeners and connections that end with the network
	closed  bool
}

// Lease is what a machine of one name gets: the same each time it asks, whatever it was before.
type Lease struct {
	Name    string // "node-1": node-1.lab in the DNS
	Address netip.Addr
	MAC     MAC
	Port    int // in its SRV record; 0: it has none

	// Under the mutex of the network.
	options map[uint8][]byte // further DHCP options
	offset  time.Duration    // of the clock that it is told
	boot    Boot             // what it starts over the network
}

// New makes a segment and starts the services on it.
func New(log *slog.Logger) (*Network, error) {
	stack, err := newHostStack()
	if err != nil {
		return nil, err
	}
	n := &Network{log: log, stack: stack, closers: map[io.Closer]struct{}{}}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.wires = newWires(hostMAC, stack.inject)
	n.run(func() { stack.send(n.ctx, n.wires.fromHost) })
	for _, serve := range []func() error{n.serveDHCP, n.serveDNS, n.serveTime} {
		if err := serve(); err != nil {
			n.Close()
			return nil, err
		}
	}
	return n, nil
}

// Lease reserves an address for a machine, once for each name. Port is that of its service in the DNS, 0 for none.
func (n *Network) Lease(name string, port int) (*Lease, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.leases {
		if l.Name == name {
			return l, nil
		}
	}
	address := Machines.Addr().Next()
	for range n.leases {
		address = address.Next()
	}
	if !Machines.Contains(address.Next()) {
		return nil, fmt.Errorf("no address is left for %s: a segment has room for %d machines", name, len(n.leases))
	}
	b := address.As4()
	l := &Lease{Name: name, Address: address, MAC: MAC{0x52, 0x54, 0x00, b[1], b[2], b[3]}, Port: port, options: map[uint8][]byte{}}
	n.leases = append(n.leases, l)
	return l, nil
}

// SetOption adds a DHCP option to the answers for a machine.
func (n *Network) SetOption(l *Lease, code uint8, value []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l.options[code] = value
}

// SetClock makes the time server lie to one machine.
func (n *Network) SetClock(l *Lease, offset time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l.offset = offset
}

// find returns a copy of the lease that matches.
func (n *Network) find(match func(*Lease) bool) (Lease, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if i := slices.IndexFunc(n.leases, match); i >= 0 {
		return *n.leases[i], true
	}
	return Lease{}, false
}

// run starts a goroutine that Close waits for.
func (n *Network) run(f func()) {
	n.group.Add(1)
	go func() {
		defer n.group.Done()
		f()
	}()
}

var errClosed = errors.New("the network is closed")

// keep closes c with the network.
func (n *Network) keep(c io.Closer) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		c.Close()
		return errClosed
	}
	n.closers[c] = struct{}{}
	return nil
}

// drop closes c now.
func (n *Network) drop(c io.Closer) error {
	n.mu.Lock()
	delete(n.closers, c)
	n.mu.Unlock()
	return c.Close()
}

// Close ends every connection, listener and cable of the segment.
func (n *Network) Close() error {
	n.mu.Lock()
	n.closed = true
	closers := n.closers
	n.closers = map[io.Closer]struct{}{}
	n.mu.Unlock()
	n.cancel()
	for c := range closers {
		c.Close()
	}
	n.wires.close()
	n.stack.close()
	n.group.Wait()
	return nil
}
