package network

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"
)

const timePort = 123

// serveTime is a time server (RFC 5905, stateless as in section 14) with the clock of the real host.
func (n *Network) serveTime() error {
	conn, err := n.ListenPacket(netip.AddrPortFrom(Gateway, timePort))
	if err != nil {
		return err
	}
	n.run(func() {
		buffer := make([]byte, 512)
		for {
			length, peer, err := conn.ReadFrom(buffer)
			if err != nil {
				if !ended(err) && n.ctx.Err() == nil {
					n.log.Warn("the lab's time server has ended", "error", err)
				}
				return
			}
			if answer, ok := tellTime(buffer[:length], n.clockOf(peer)); ok {
				conn.WriteTo(answer, peer)
			}
		}
	})
	return nil
}

// clockOf is the time that a machine is told.
func (n *Network) clockOf(peer net.Addr) time.Time {
	now := time.Now()
	if u, ok := peer.(*net.UDPAddr); ok {
		address := u.AddrPort().Addr().Unmap()
		if lease, ok := n.find(func(l *Lease) bool { return l.Address == address }); ok {
			return now.Add(lease.offset)
		}
	}
	return now
}

const (
	timePacket = 48
	modeClient = 3
	modeServer = 4
)

// tellTime answers a client's packet.
func tellTime(request []byte, now time.Time) (answer []byte, ok bool) {
	if len(request) < timePacket || request[0]&7 != modeClient {
		return nil, false
	}
	version := request[0] >> 3 & 7
	if version < 1 || version > 4 {
		return nil, false
	}
	answer = make([]byte, timePacket)
	answer[0] = version<<3 | modeServer // no leap second
	answer[1] = 1                       // stratum: a reference of its own …
	copy(answer[12:16], "LOCL")         // … which is the local clock
	answer[2] = request[2]              // poll interval
	answer[3] = 0xec                    // precision: 2^-20 s
	// Root dispersion, in units of 2^-16 s: about a millisecond.
	binary.BigEndian.PutUint32(answer[8:], 64)
	stamp := timestamp(now)
	binary.BigEndian.PutUint64(answer[16:], stamp) // the clock was set
	copy(answer[24:32], request[40:48])            // the client's own time stamp, back
	binary.BigEndian.PutUint64(answer[32:], stamp) // received
	binary.BigEndian.PutUint64(answer[40:], stamp) // sent
	return answer, true
}

// timestamp is seconds since 1900 in 32 bits, which begin anew in 2036, and 32 bits of their fraction.
func timestamp(t time.Time) uint64 {
	const from1900to1970 = 2_208_988_800
	seconds := uint64(t.Unix()+from1900to1970) & 0xffffffff
	return seconds<<32 | uint64(t.Nanosecond())<<32/1_000_000_000
}
