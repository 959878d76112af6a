package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
)

// Ports is what a scan found out about the TCP ports of a guest.
type Ports struct {
	Open     []int // the guest accepted a connection
	Closed   []int // the guest refused: nothing listens, and no firewall hides that
	Filtered []int // the guest was silent
}

// scanBatch keeps the forwards of one round below QEMU's usual limit of 1024 open files.
const scanBatch = 200

// Scan asks the guest for a connection on each TCP port and reads the answers from the packets
// that cross the virtual network card. The host's end tells nothing: QEMU accepts every
// forwarded connection itself, and holds it open while a guest is silent.
func (m *Machine) Scan(ctx context.Context, ports []int) (Ports, error) {
	var result Ports
	// What the guest answered while it booted tells nothing about now.
	before, err := os.ReadFile(m.packets())
	if err != nil {
		return Ports{}, fmt.Errorf("cannot read the packets of the machine: %w", err)
	}
	for batch := range slices.Chunk(ports, scanBatch) {
		if err := m.knock(ctx, batch); err != nil {
			return Ports{}, fmt.Errorf("cannot scan the ports of the machine: %w", err)
		}
	}
	capture, err := os.ReadFile(m.packets())
	if err != nil {
		return Ports{}, fmt.Errorf("cannot read the packets of the machine: %w", err)
	}
	answers, asked, err := handshakes(capture, whole(before))
	if err != nil {
		return Ports{}, fmt.Errorf("cannot read the packets of the machine: %w", err)
	}
	for _, port := range ports {
		switch {
		case answers[port]&tcpSYN != 0:
			result.Open = append(result.Open, port)
		case answers[port]&tcpRST != 0:
			result.Closed = append(result.Closed, port)
		case asked[port]:
			result.Filtered = append(result.Filtered, port)
		default:
			return Ports{}, fmt.Errorf("no connection to port %d has reached the machine", port)
		}
	}
	return result, nil
}

// The guest answers a connection within a millisecond; emulated and busy, within this time.
const patience = 3 * time.Second

// knock opens a connection to each port through a forward of its own.
func (m *Machine) knock(ctx context.Context, ports []int) error {
	var hosts []int
	defer func() {
		for _, host := range hosts {
			m.monitor.human(ctx, fmt.Sprintf("hostfwd_remove net tcp:127.0.0.1:%d", host))
		}
	}()
	var missing []int
	for _, port := range ports {
		if m.forwards[port] != 0 {
			continue
		}
		missing = append(missing, port)
		answer, err := m.monitor.human(ctx, fmt.Sprintf("hostfwd_add net tcp:127.0.0.1:0-:%d", port))
		if err == nil && answer != "" {
			err = errors.New(answer)
		}
		if err != nil {
			return err
		}
	}
	text, err := m.monitor.human(ctx, "info usernet")
	if err != nil {
		return err
	}
	forwards := parseForwards(text)
	for _, port := range missing {
		if forwards[port] != 0 {
			hosts = append(hosts, forwards[port])
		}
	}
	var group errgroup.Group
	for _, port := range ports {
		group.Go(func() error {
			dialer := net.Dialer{Timeout: patience}
			conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(forwards[port])))
			if err != nil {
				return err
			}
			defer conn.Close()
			// Closed when the guest refuses; open, or silent, for as long as it is looked at.
			conn.SetReadDeadline(time.Now().Add(patience))
			conn.Read(make([]byte, 1))
			return nil
		})
	}
	return group.Wait()
}

const (
	tcpSYN = 1 << 1
	tcpRST = 1 << 2
	tcpACK = 1 << 4
)

// A capture is a file header and, for each packet, a record header and the packet. QEMU writes
// numbers in the byte order of the host: little-endian on amd64.
const (
	captureMagic        = 0xa1b2c3d4
	captureHeader       = 24
	captureRecordHeader = 16
)

// handshakes reads the records of a packet capture from an offset on: the TCP flags that the
// guest answered with on each port, and the ports that were asked.
func handshakes(capture []byte, from int) (answers map[int]byte, asked map[int]bool, err error) {
	if len(capture) < captureHeader || binary.LittleEndian.Uint32(capture) != captureMagic {
		return nil, nil, errors.New("not a packet capture")
	}
	guest := netip.MustParseAddr(GuestAddress)
	answers, asked = map[int]byte{}, map[int]bool{}
	for frame := range records(capture, max(from, captureHeader)) {
		segment, ok := parseSegment(frame)
		switch flags := segment.flags & (tcpSYN | tcpRST | tcpACK); {
		case !ok:
		case segment.to == guest && flags == tcpSYN:
			asked[segment.toPort] = true
		case segment.from == guest && (flags == tcpSYN|tcpACK || flags&tcpRST != 0):
			answers[segment.fromPort] |= flags
		}
	}
	return answers, asked, nil
}

// records yields each packet and the offset behind it. The last record may still be being
// written: it is left out.
func records(capture []byte, from int) iter.Seq2[[]byte, int] {
	return func(yield func([]byte, int) bool) {
		for offset := from; offset+captureRecordHeader <= len(capture); {
			length := int(binary.LittleEndian.Uint32(capture[offset+8:]))
			start := offset + captureRecordHeader
			if length > len(capture)-start {
				return
			}
			offset = start + length
			if !yield(capture[start:offset], offset) {
				return
			}
		}
	}
}

// whole is the offset behind the last whole record.
func whole(capture []byte) int {
	end := captureHeader
	for _, offset := range records(capture, captureHeader) {
		end = offset
	}
	return end
}

type segment struct {
	from, to         netip.Addr
	fromPort, toPort int
	flags            byte
}

// parseSegment reads an Ethernet frame that holds TCP over IPv4.
func parseSegment(frame []byte) (segment, bool) {
	const ethernet, ipv4 = 14, 20
	if len(frame) < ethernet+ipv4 || binary.BigEndian.Uint16(frame[12:]) != 0x0800 {
		return segment{}, false
	}
	packet := frame[ethernet:]
	header := int(packet[0]&0x0f) * 4
	if packet[0]>>4 != 4 || packet[9] != 6 || header < ipv4 || len(packet) < header+14 {
		return segment{}, false
	}
	tcp := packet[header:]
	return segment{
		from: netip.AddrFrom4([4]byte(packet[12:16])), to: netip.AddrFrom4([4]byte(packet[16:20])),
		fromPort: int(binary.BigEndian.Uint16(tcp)), toPort: int(binary.BigEndian.Uint16(tcp[2:])),
		flags: tcp[13],
	}, true
}
