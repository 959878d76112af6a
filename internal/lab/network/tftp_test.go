package network

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"testing/fstest"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
)

func TestTFTP(t *testing.T) {
	n := newNetwork(t)
	content := bytes.Repeat([]byte("0123456789abcdef"), 200) // 3200 bytes: the last of the blocks below is short
	exact := make([]byte, 1024)                              // whose last block is empty
	if err := n.ServeFiles(fstest.MapFS{"boot.efi": {Data: content}, "exact": {Data: exact}}); err != nil {
		t.Fatal(err)
	}
	g := newGuest(t, n, "node-1")
	for name, c := range map[string]struct {
		request string
		options string
		block   int
		want    []byte
	}{
		"plain":        {"boot.efi\x00octet\x00", "", 512, content},
		"with options": {"/boot.efi\x00octet\x00tsize\x000\x00blksize\x001468\x00", "blksize\x001468\x00tsize\x003200\x00", 1468, content},
		"whole blocks": {"exact\x00octet\x00", "", 512, exact},
		"not there":    {"secret\x00octet\x00", "", 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			local := fullAddress(netip.AddrPortFrom(g.lease.Address, 0))
			conn, err := gonet.DialUDP(g.Stack, &local, nil, ipv4.ProtocolNumber)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			server := netUDP(netip.AddrPortFrom(Gateway, tftpPort))
			if _, err := conn.WriteTo(append([]byte{0, tftpRequest}, c.request...), server); err != nil {
				t.Fatal(err)
			}
			var got []byte
			buffer := make([]byte, mtu)
			for {
				length, from, err := conn.ReadFrom(buffer)
				if err != nil {
					t.Fatal(err)
				}
				switch packet := buffer[:length]; packet[1] {
				case tftpError:
					if c.want != nil {
						t.Fatalf("error %q", packet)
					}
					return
				case tftpOptions:
					if string(packet[2:]) != c.options {
						t.Fatalf("options %q, want %q", packet[2:], c.options)
					}
					conn.WriteTo([]byte{0, tftpAck, 0, 0}, from)
				case tftpData:
					got = append(got, packet[4:]...)
					conn.WriteTo(binary.BigEndian.AppendUint16([]byte{0, tftpAck}, binary.BigEndian.Uint16(packet[2:])), from)
					if length-4 < c.block {
						if !bytes.Equal(got, c.want) {
							t.Errorf("%d bytes came, want %d", len(got), len(c.want))
						}
						return
					}
				}
			}
		})
	}
}

func netUDP(a netip.AddrPort) *net.UDPAddr { return net.UDPAddrFromAddrPort(a) }

func TestBootFile(t *testing.T) {
	b := Boot{UEFI: "snponly.efi", BIOS: "undionly.kpxe", Script: "http://host.lab/boot.ipxe"}
	for want, options := range map[string][]dhcpv4.Modifier{
		"snponly.efi":               {dhcpv4.WithOption(dhcpv4.OptClientArch(iana.EFI_X86_64))},
		"undionly.kpxe":             {dhcpv4.WithOption(dhcpv4.OptClientArch(iana.INTEL_X86PC))},
		"http://host.lab/boot.ipxe": {dhcpv4.WithOption(dhcpv4.OptClientArch(iana.INTEL_X86PC)), dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.OptionUserClassInformation, []byte("iPXE")))},
	} {
		request, err := dhcpv4.New(options...)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.file(request); got != want {
			t.Errorf("told to start %q, want %q", got, want)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte("\x00\x01boot.efi\x00octet\x00tsize\x000\x00blksize\x001468\x00"))
	f.Add([]byte("\x00\x01\x00\x00"))
	f.Fuzz(func(t *testing.T, packet []byte) {
		r, err := parseRequest(packet)
		if err != nil {
			return
		}
		if block, _ := r.agree(1); block < 8 || block > tftpBlock {
			t.Errorf("a block of %d bytes", block)
		}
	})
}
