package network

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/beevik/ntp"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/miekg/dns"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

func newNetwork(t *testing.T) *Network {
	t.Helper()
	n, err := New(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// guest is a machine without a machine: a TCP/IP stack at the other end of a cable.
type guest struct {
	*hostStack
	lease *Lease
	cable *Cable
}

func newGuest(t *testing.T, n *Network, name string) *guest {
	t.Helper()
	lease, err := n.Lease(name, 8200)
	if err != nil {
		t.Fatal(err)
	}
	near, far := socketPair(t)
	s := &hostStack{
		Stack: stack.New(stack.Options{
			NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
			TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
		}),
		link: channel.New(backlog, longestFrame, tcpip.LinkAddress(lease.MAC[:])),
	}
	if err := s.CreateNIC(nic, ethernet.New(s.link)); err != nil {
		t.Fatal(err)
	}
	if err := s.own(lease.Address); err != nil {
		t.Fatal(err)
	}
	subnet, _ := tcpip.NewSubnet(tcpip.AddrFrom4(Subnet.Addr().As4()), tcpip.MaskFromBytes([]byte{255, 255, 255, 0}))
	s.SetRouteTable([]tcpip.Route{{Destination: subnet, NIC: nic}, // and everything else through the gateway
		{Destination: zero(t), Gateway: tcpip.AddrFrom4(Gateway.As4()), NIC: nic}})
	ctx, cancel := context.WithCancel(context.Background())
	wire := newWires(lease.MAC, s.inject)
	// The other end of the cable is a switch of one port.
	end := &Cable{wires: wire, conn: far, out: make(chan []byte, backlog), end: make(chan struct{})}
	go end.send()
	go end.receive()
	go s.send(ctx, func(frame []byte) { end.offer(frame) })
	g := &guest{s, lease, n.Attach(lease, near)}
	t.Cleanup(func() {
		cancel()
		end.Close()
		s.close()
	})
	return g
}

func zero(t *testing.T) tcpip.Subnet {
	t.Helper()
	all, err := tcpip.NewSubnet(tcpip.AddrFrom4([4]byte{}), tcpip.MaskFromBytes(make([]byte, 4)))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func socketPair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	descriptors, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]net.Conn
	for i, d := range descriptors {
		file := os.NewFile(uintptr(d), "pair")
		if ends[i], err = net.FileConn(file); err != nil {
			t.Fatal(err)
		}
		file.Close()
	}
	return ends[0], ends[1]
}

func (g *guest) dialUDP(t *testing.T, from uint16, to netip.AddrPort) net.Conn {
	t.Helper()
	local, remote := fullAddress(netip.AddrPortFrom(g.lease.Address, from)), fullAddress(to)
	conn, err := gonet.DialUDP(g.Stack, &local, &remote, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn
}

func (g *guest) dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	conn, err := gonet.DialContextTCP(ctx, g.Stack, fullAddress(to), ipv4.ProtocolNumber)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// serveEcho answers every connection with what it says, once it has said all.
func (g *guest) serveEcho(t *testing.T, port uint16) {
	t.Helper()
	listener, err := gonet.ListenTCP(g.Stack, fullAddress(netip.AddrPortFrom(g.lease.Address, port)), ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go echo(listener)
}

func echo(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			said, _ := io.ReadAll(conn)
			conn.Write(said)
		}()
	}
}

// converse says something and returns the answer.
func converse(conn net.Conn, words []byte) ([]byte, error) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write(words); err != nil {
		return nil, err
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return nil, err
	}
	return io.ReadAll(conn)
}

func TestDHCP(t *testing.T) {
	n := newNetwork(t)
	g := newGuest(t, n, "node-1")
	n.SetOption(g.lease, 224, []byte("https://host.lab/node.hcl"))
	ask := func(request *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
		conn := g.dialUDP(t, 68, netip.AddrPortFrom(Gateway, 67))
		defer conn.Close()
		if _, err := conn.Write(request.ToBytes()); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 1500)
		length, err := conn.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := dhcpv4.FromBytes(buffer[:length])
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	discover, err := dhcpv4.NewDiscovery(g.lease.MAC[:])
	if err != nil {
		t.Fatal(err)
	}
	offer := ask(discover)
	request, err := dhcpv4.NewRequestFromOffer(offer)
	if err != nil {
		t.Fatal(err)
	}
	lease := ask(request)
	if lease.MessageType() != dhcpv4.MessageTypeAck || lease.YourIPAddr.String() != g.lease.Address.String() {
		t.Errorf("lease %s", lease.Summary())
	}
	if got := lease.DNS(); len(got) != 1 || got[0].String() != Gateway.String() {
		t.Errorf("name servers %v", got)
	}
	if got := lease.Router(); len(got) != 1 || got[0].String() != Gateway.String() {
		t.Errorf("routers %v", got)
	}
	if got := lease.Options.Get(dhcpv4.GenericOptionCode(224)); string(got) != "https://host.lab/node.hcl" {
		t.Errorf("option 224 is %q", got)
	}
	request.UpdateOption(dhcpv4.OptRequestedIPAddress(net.IPv4(10, 0, 2, 99)))
	if refused := ask(request); refused.MessageType() != dhcpv4.MessageTypeNak {
		t.Errorf("another address is answered with %s", refused.MessageType())
	}
	stranger, err := dhcpv4.NewDiscovery(net.HardwareAddr{2, 0, 0, 0, 0, 9})
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := n.lease(stranger); answer != nil || err != nil {
		t.Errorf("a stranger is answered: %v, %v", answer, err)
	}
}

func TestDNS(t *testing.T) {
	n := newNetwork(t)
	g := newGuest(t, n, "node-1")
	if _, err := n.Lease("node-2", 8200); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Lease("observer", 0); err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(Gateway, 53)
	for _, transport := range []string{"udp", "tcp"} {
		ask := func(name string, kind uint16) (string, int) {
			t.Helper()
			conn := net.Conn(nil)
			if transport == "udp" {
				conn = g.dialUDP(t, 0, at)
			} else {
				var err error
				if conn, err = g.dial(t.Context(), at); err != nil {
					t.Fatal(err)
				}
			}
			defer conn.Close()
			client := dns.Client{Net: transport}
			answer, _, err := client.ExchangeWithConn(new(dns.Msg).SetQuestion(name, kind), &dns.Conn{Conn: conn})
			if err != nil {
				t.Fatal(err)
			}
			var records []string
			for _, r := range answer.Answer {
				records = append(records, strings.TrimPrefix(r.String(), r.Header().String()))
			}
			slices.Sort(records)
			return strings.Join(records, ", "), answer.Rcode
		}
		for _, c := range []struct {
			name string
			kind uint16
			want string
			code int
		}{
			{"node-1.lab.", dns.TypeA, "10.0.2.65", dns.RcodeSuccess},
			{"NODE-2.Lab.", dns.TypeA, "10.0.2.66", dns.RcodeSuccess},
			{"host.lab.", dns.TypeA, "10.0.2.3", dns.RcodeSuccess},
			{"2.debian.pool.ntp.org.", dns.TypeA, "10.0.2.2", dns.RcodeSuccess},
			{"node-1.lab.", dns.TypeAAAA, "", dns.RcodeSuccess},
			{"_vault._tcp.lab.", dns.TypeSRV, "1 1 8200 node-1.lab., 1 1 8200 node-2.lab.", dns.RcodeSuccess},
			{"node-9.lab.", dns.TypeA, "", dns.RcodeNameError},
			{"example.com.", dns.TypeA, "", dns.RcodeNameError},
		} {
			if got, code := ask(c.name, c.kind); got != c.want || code != c.code {
				t.Errorf("%s %s over %s: %q, code %d; want %q, code %d", c.name, dns.TypeToString[c.kind], transport, got, code, c.want, c.code)
			}
		}
	}
}

func TestTime(t *testing.T) {
	n := newNetwork(t)
	g := newGuest(t, n, "node-1")
	ask := func() *ntp.Response {
		t.Helper()
		answer, err := ntp.QueryWithOptions(Gateway.String(), ntp.QueryOptions{Timeout: 10 * time.Second, Dialer: func(_, remote string) (net.Conn, error) {
			return g.dialUDP(t, 0, netip.MustParseAddrPort(remote)), nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		if err := answer.Validate(); err != nil {
			t.Errorf("a client does not believe the answer: %v: %+v", err, answer)
		}
		return answer
	}
	if off := ask().ClockOffset.Abs(); off > time.Second {
		t.Errorf("the clock is off by %s", off)
	}
	n.SetClock(g.lease, -time.Hour)
	if off := ask().ClockOffset; (off + time.Hour).Abs() > time.Second {
		t.Errorf("the machine that is lied to sees an offset of %s, want an hour behind", off)
	}
}

func TestMachinesReachOneAnother(t *testing.T) {
	n := newNetwork(t)
	one, two := newGuest(t, n, "node-1"), newGuest(t, n, "node-2")
	two.serveEcho(t, 8201)
	words := bytes.Repeat([]byte("a megabyte of entries "), 1<<20/22)
	to := netip.AddrPortFrom(two.lease.Address, 8201)
	conn, err := one.dial(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := converse(conn, words); err != nil || !bytes.Equal(got, words) {
		t.Fatalf("%d of %d bytes came back: %v", len(got), len(words), err)
	}
	two.cable.Cut()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if conn, err := one.dial(ctx, to); err == nil {
		conn.Close()
		t.Error("a connection over a cable that is cut")
	}
	if !two.cable.IsCut() {
		t.Error("the cable does not say that it is cut")
	}
	two.cable.Heal()
	if conn, err = one.dial(t.Context(), to); err != nil {
		t.Fatalf("after the cut was healed: %v", err)
	}
	if got, err := converse(conn, []byte("again")); err != nil || string(got) != "again" {
		t.Errorf("after the cut was healed: %q, %v", got, err)
	}
}

// A machine that reads nothing must not hold up the others.
func TestDeafMachine(t *testing.T) {
	n := newNetwork(t)
	deaf, err := n.Lease("deaf", 0)
	if err != nil {
		t.Fatal(err)
	}
	near, _ := socketPair(t)
	n.Attach(deaf, near)
	frame := make([]byte, longestFrame)
	copy(frame, deaf.MAC[:])
	for range 4 * backlog {
		n.wires.fromHost(frame)
	}
	g := newGuest(t, n, "node-1")
	g.serveEcho(t, 80)
	conn, err := n.Dial(t.Context(), netip.AddrPortFrom(g.lease.Address, 80))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := converse(conn, []byte("hello")); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestForward(t *testing.T) {
	n := newNetwork(t)
	g := newGuest(t, n, "node-1")
	g.serveEcho(t, 8200)
	address, stop, err := n.Forward(netip.AddrPortFrom(g.lease.Address, 8200))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(address, "127.0.0.1:") {
		t.Errorf("the forward listens on %s", address)
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := converse(conn, []byte("hello")); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	// Nobody listens behind this one: the connection ends, and does not hang.
	closed, _, err := n.Forward(netip.AddrPortFrom(g.lease.Address, 22))
	if err != nil {
		t.Fatal(err)
	}
	if conn, err = net.Dial("tcp", closed); err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if length, err := conn.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("read %d bytes from a port that is closed, error %v", length, err)
	}
	stop()
	if conn, err := net.Dial("tcp", address); err == nil {
		conn.Close()
		t.Error("a forward that was stopped accepts a connection")
	}
}

func TestExpose(t *testing.T) {
	n := newNetwork(t)
	g := newGuest(t, n, "node-1")
	service, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Close() })
	go echo(service)
	if err := n.Expose(8200, service.Addr().String()); err != nil {
		t.Fatal(err)
	}
	conn, err := g.dial(t.Context(), netip.AddrPortFrom(Host, 8200))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := converse(conn, []byte("hello")); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	// A service of our own, where clouds have their metadata.
	metadata, err := n.Listen(netip.MustParseAddrPort("169.254.169.254:80"))
	if err != nil {
		t.Fatal(err)
	}
	go echo(metadata)
	if conn, err = g.dial(t.Context(), netip.MustParseAddrPort("169.254.169.254:80")); err != nil {
		t.Fatal(err)
	}
	if got, err := converse(conn, []byte("token")); err != nil || string(got) != "token" {
		t.Errorf("%q, %v", got, err)
	}
}

// There is no way out: not to a service of the real host that was not exposed, nor to an address beyond it.
func TestNoWayOut(t *testing.T) {
	n := newNetwork(t)
	g := newGuest(t, n, "node-1")
	service, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	port := uint16(service.Addr().(*net.TCPAddr).Port)
	targets := []netip.Addr{Gateway, Host, netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.1")}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Is4() {
			targets = append(targets, prefix.Addr())
		}
	}
	for _, to := range targets {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		if conn, err := g.dial(ctx, netip.AddrPortFrom(to, port)); err == nil {
			conn.Close()
			t.Errorf("a connection from the segment to %s", to)
		}
		cancel()
	}
}

func TestLeases(t *testing.T) {
	n := newNetwork(t)
	first, err := n.Lease("node-1", 8200)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := n.Lease("node-1", 8200); err != nil || again != first {
		t.Errorf("the same machine gets another lease: %+v, %v", again, err)
	}
	seen := map[netip.Addr]bool{first.Address: true}
	for i := 2; ; i++ {
		l, err := n.Lease(fmt.Sprintf("node-%d", i), 0)
		if err != nil {
			break
		}
		if seen[l.Address] || !Machines.Contains(l.Address) || l.MAC.group() {
			t.Fatalf("lease %+v", l)
		}
		seen[l.Address] = true
	}
	if len(seen) != 62 {
		t.Errorf("%d leases", len(seen))
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x0eaaaaaabbbbbb\x08\x00"))
	f.Add([]byte{0, 0, 0, 1, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, stream []byte) {
		for r := bytes.NewReader(stream); ; {
			frame, err := readFrame(r)
			if err != nil {
				return
			}
			if len(frame) < ethernetHeader || len(frame) > longestFrame {
				t.Fatalf("a frame of %d bytes", len(frame))
			}
		}
	})
}

func FuzzTellTime(f *testing.F) {
	request := make([]byte, timePacket)
	request[0] = 4<<3 | modeClient
	f.Add(request)
	f.Add([]byte{0x23})
	f.Fuzz(func(t *testing.T, request []byte) {
		answer, ok := tellTime(request, time.Unix(1_800_000_000, 0))
		if ok && (len(answer) != timePacket || answer[0]&7 != modeServer || !bytes.Equal(answer[24:32], request[40:48])) {
			t.Fatalf("answer %x to %x", answer, request)
		}
	})
}
