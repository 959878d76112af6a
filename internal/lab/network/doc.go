// Package network is an Ethernet segment inside one process: no root, no bridge, no route to anywhere else.
//
// Machines are attached by a stream of frames, as QEMU's `-netdev stream` speaks it. On the segment there is one host of
// ours, which leases addresses (DHCP), answers names (DNS), tells the time (NTP) and carries connections: [Network.Forward]
// from the loopback of the real host into the segment, [Network.Expose] from the segment to one chosen service on that
// loopback. Whatever else a machine sends there is dropped, so what runs on the segment depends on no outside service.
//
// Each machine's cable can be cut and healed at any moment ([Cable.Cut], [Cable.Heal]).
//
// The host's TCP/IP stack is gVisor's. containers/gvisor-tap-vsock, which is built on the same, was not taken: it routes
// every connection of a guest to the outside, asks the real host's resolver for unknown names, has no SRV records and no
// clock, and one machine that does not read stalls the others.
package network
