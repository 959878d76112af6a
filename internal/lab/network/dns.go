package network

import (
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

const dnsPort = 53

// timePool is the domain of the public time servers, which an image asks unless it was baked for another source. On
// the segment they are the gateway.
const timePool = "pool.ntp.org."

// serveDNS answers the names of the segment, over UDP and TCP.
func (n *Network) serveDNS() error {
	at := netip.AddrPortFrom(Gateway, dnsPort)
	packets, err := n.ListenPacket(at)
	if err != nil {
		return err
	}
	connections, err := n.Listen(at)
	if err != nil {
		return err
	}
	for _, server := range []*dns.Server{{PacketConn: packets}, {Listener: connections}} {
		server.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, question *dns.Msg) {
			answer := n.answer(question)
			if server.PacketConn != nil {
				size := dns.MinMsgSize
				if extended := question.IsEdns0(); extended != nil {
					size = int(extended.UDPSize())
				}
				answer.Truncate(size)
			}
			w.WriteMsg(answer)
		})
		n.run(func() {
			if err := server.ActivateAndServe(); err != nil && n.ctx.Err() == nil {
				n.log.Warn("the lab's name server has ended", "error", err)
			}
		})
	}
	return nil
}

// answer knows every name that there is: what it does not know does not exist.
func (n *Network) answer(question *dns.Msg) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(question)
	m.Authoritative, m.RecursionAvailable = true, true
	if len(question.Question) != 1 {
		m.Rcode = dns.RcodeFormatError
		return m
	}
	q := question.Question[0]
	name := strings.ToLower(q.Name)
	header := func(kind uint16) dns.RR_Header {
		return dns.RR_Header{Name: q.Name, Rrtype: kind, Class: dns.ClassINET, Ttl: 0}
	}
	if name == Service+"." {
		if q.Qtype == dns.TypeSRV {
			n.mu.Lock()
			defer n.mu.Unlock()
			for _, l := range n.leases {
				if l.Port != 0 {
					m.Answer = append(m.Answer, &dns.SRV{Hdr: header(dns.TypeSRV), Priority: 1, Weight: 1, Port: uint16(l.Port), Target: l.Host() + "."})
				}
			}
		}
		return m
	}
	address, ok := n.resolve(name)
	if !ok {
		m.Rcode = dns.RcodeNameError
		return m
	}
	if q.Qtype == dns.TypeA {
		m.Answer = append(m.Answer, &dns.A{Hdr: header(dns.TypeA), A: address.AsSlice()})
	}
	return m
}

// resolve finds the address of a name, which is in lower case and ends in a dot.
func (n *Network) resolve(name string) (netip.Addr, bool) {
	switch {
	case name == "host."+Domain+".":
		return Host, true
	case name == "gateway."+Domain+".", name == timePool, strings.HasSuffix(name, "."+timePool):
		return Gateway, true
	}
	lease, ok := n.find(func(l *Lease) bool { return name == l.Host()+"." })
	return lease.Address, ok
}

// Host is the full name of the machine: "node-1.lab".
func (l *Lease) Host() string { return l.Name + "." + Domain }
