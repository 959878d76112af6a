package network

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
)

const (
	tftpPort    = 69
	tftpRequest = 1
	tftpData    = 3
	tftpAck     = 4
	tftpError   = 5
	tftpOptions = 6

	// tftpBlock is the largest block that is one frame.
	tftpBlock = mtu - 20 - 8 - 4
	// What a firmware that is emulated and busy has not heard is said again.
	tftpPatience = 2 * time.Second
	tftpRepeats  = 10
)

// ServeFiles lets machines read files by TFTP (RFC 1350, with the options of RFC 2348 and 2349, which firmware asks
// for). It is our own because it has to serve from this segment, where no socket of the host is.
func (n *Network) ServeFiles(files fs.FS) error {
	conn, err := n.ListenPacket(netip.AddrPortFrom(Gateway, tftpPort))
	if err != nil {
		return err
	}
	n.run(func() {
		buffer := make([]byte, mtu)
		for {
			length, peer, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			request, err := parseRequest(buffer[:length])
			if err != nil {
				n.log.Debug("cannot answer a TFTP request", "error", err)
				continue
			}
			n.run(func() {
				if err := n.sendFile(files, request, peer); err != nil && n.ctx.Err() == nil {
					n.log.Debug("a TFTP transfer has ended", "file", request.name, "error", err)
				}
			})
		}
	})
	return nil
}

// fileRequest is what a machine asks for.
type fileRequest struct {
	name    string
	options map[string]string
}

func parseRequest(packet []byte) (fileRequest, error) {
	if len(packet) < 4 || binary.BigEndian.Uint16(packet) != tftpRequest || packet[len(packet)-1] != 0 {
		return fileRequest{}, errors.New("not a request to read")
	}
	words := strings.Split(string(packet[2:len(packet)-1]), "\x00")
	if len(words)%2 != 0 || !strings.EqualFold(words[1], "octet") {
		return fileRequest{}, fmt.Errorf("a request of %d words, not for octets", len(words))
	}
	r := fileRequest{name: strings.TrimPrefix(words[0], "/"), options: map[string]string{}}
	for i := 2; i < len(words); i += 2 {
		r.options[strings.ToLower(words[i])] = words[i+1]
	}
	return r, nil
}

// agree settles the options: the size of a block, and the packet that says so, nil for none.
func (r fileRequest) agree(size int) (block int, answer []byte) {
	block = 512
	options := []byte{0, tftpOptions}
	add := func(name string, value int) { options = append(options, name+"\x00"+strconv.Itoa(value)+"\x00"...) }
	if asked, err := strconv.Atoi(r.options["blksize"]); err == nil && asked >= 8 {
		block = min(asked, tftpBlock)
		add("blksize", block)
	}
	if _, asked := r.options["tsize"]; asked {
		add("tsize", size)
	}
	if len(options) == 2 {
		return block, nil
	}
	return block, options
}

// sendFile is one transfer, from a port of its own.
func (n *Network) sendFile(files fs.FS, request fileRequest, peer net.Addr) error {
	u, ok := peer.(*net.UDPAddr)
	if !ok {
		return fmt.Errorf("a peer of type %T", peer)
	}
	local, remote := fullAddress(netip.AddrPortFrom(Gateway, 0)), fullAddress(netip.AddrPortFrom(u.AddrPort().Addr().Unmap(), u.AddrPort().Port()))
	conn, err := gonet.DialUDP(n.stack.Stack, &local, &remote, ipv4.ProtocolNumber)
	if err != nil {
		return err
	}
	if err := n.keep(conn); err != nil {
		return err
	}
	defer n.drop(conn)
	content, err := fs.ReadFile(files, request.name)
	if err != nil {
		_, _ = conn.Write([]byte("\x00\x05\x00\x01no such file\x00"))
		return err
	}
	block, options := request.agree(len(content))
	if options != nil {
		if err := untilHeard(conn, options, 0); err != nil {
			return err
		}
	}
	for number := uint16(1); ; number++ {
		part := content[:min(block, len(content))]
		content = content[len(part):]
		packet := binary.BigEndian.AppendUint16([]byte{0, tftpData}, number)
		if err := untilHeard(conn, append(packet, part...), number); err != nil {
			return err
		}
		if len(part) < block {
			return nil
		}
	}
}

// untilHeard sends a packet until it is acknowledged.
func untilHeard(conn net.Conn, packet []byte, number uint16) error {
	want := binary.BigEndian.AppendUint16([]byte{0, tftpAck}, number)
	buffer := make([]byte, mtu)
	for range tftpRepeats {
		if _, err := conn.Write(packet); err != nil {
			return err
		}
		if err := conn.SetReadDeadline(time.Now().Add(tftpPatience)); err != nil {
			return err
		}
		for {
			length, err := conn.Read(buffer)
			if err != nil {
				if ended(err) {
					return err
				}
				break // the deadline
			}
			if bytes.Equal(buffer[:length], want) {
				return nil
			}
			if length >= 4 && buffer[1] == tftpError {
				return fmt.Errorf("the machine wants no more: %q", buffer[4:length])
			}
		}
	}
	return errors.New("the machine does not answer")
}
