package lab

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
)

// packet is an Ethernet frame with a TCP segment, as a capture record.
func packet(from, to string, fromPort, toPort int, flags byte) []byte {
	frame := make([]byte, 14+20+20)
	binary.BigEndian.PutUint16(frame[12:], 0x0800)
	ip := frame[14:]
	ip[0], ip[9] = 0x45, 6
	source, target := netip.MustParseAddr(from).As4(), netip.MustParseAddr(to).As4()
	copy(ip[12:], source[:])
	copy(ip[16:], target[:])
	binary.BigEndian.PutUint16(ip[20:], uint16(fromPort))
	binary.BigEndian.PutUint16(ip[22:], uint16(toPort))
	ip[20+13] = flags
	return record(frame)
}

func record(frame []byte) []byte {
	header := make([]byte, 16)
	binary.LittleEndian.PutUint32(header[8:], uint32(len(frame)))
	return append(header, frame...)
}

func capture(records ...[]byte) []byte {
	header := make([]byte, 24)
	binary.LittleEndian.PutUint32(header, 0xa1b2c3d4)
	for _, r := range records {
		header = append(header, r...)
	}
	return header
}

func TestHandshakes(t *testing.T) {
	const guest, gateway = GuestAddress, GatewayAddress
	earlier := capture(
		packet(gateway, guest, 999, 8201, tcpSYN),
		packet(guest, gateway, 8201, 999, tcpSYN|tcpACK),
		packet(guest, gateway, 8200, 998, tcpRST|tcpACK), // booting: nothing listened yet
	)
	all := slices.Concat(earlier, capture(
		record([]byte("not TCP")),
		packet(gateway, guest, 1000, 8200, tcpSYN),
		packet(guest, gateway, 8200, 1000, tcpSYN|tcpACK),
		packet(guest, gateway, 8200, 1000, tcpRST), // a reset of an open connection closes no port
		packet(gateway, guest, 1001, 22, tcpSYN),
		packet(guest, gateway, 22, 1001, tcpRST|tcpACK),
		packet(gateway, guest, 1002, 23, tcpSYN),
		packet(gateway, guest, 1002, 23, tcpSYN), // silence, and the gateway asks again
		packet(guest, gateway, 4000, 53, tcpSYN), // what the guest opens itself is no answer
	)[captureHeader:])
	// The last record is being written, both times.
	answers, asked, err := handshakes(append(all, 1, 2, 3), whole(append(slices.Clip(earlier), 1, 2, 3)))
	if err != nil {
		t.Fatal(err)
	}
	for port, want := range map[int]byte{8200: tcpSYN | tcpACK | tcpRST, 22: tcpRST | tcpACK, 23: 0, 4000: 0, 8201: 0} {
		if answers[port] != want {
			t.Errorf("answer of port %d: %#x, want %#x", port, answers[port], want)
		}
	}
	for port, want := range map[int]bool{8200: true, 22: true, 23: true, 53: false, 8201: false} {
		if asked[port] != want {
			t.Errorf("port %d asked: %v", port, asked[port])
		}
	}
	if _, _, err := handshakes([]byte("short"), 0); err == nil {
		t.Error("not a capture, and no error")
	}
}

func FuzzHandshakes(f *testing.F) {
	f.Add(capture(packet(GatewayAddress, GuestAddress, 1000, 8200, tcpSYN), packet(GuestAddress, GatewayAddress, 8200, 1000, tcpRST)))
	f.Add(capture(record(nil)))
	f.Fuzz(func(t *testing.T, b []byte) {
		answers, _, err := handshakes(b, whole(b))
		if err != nil && answers != nil {
			t.Error("an error beside an answer")
		}
	})
}
