package network

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
)

// MAC is an Ethernet address.
type MAC [6]byte

func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

func (m MAC) group() bool { return m[0]&1 != 0 } // broadcast and multicast

const (
	ethernetHeader = 14
	mtu            = 1500
	longestFrame   = ethernetHeader + mtu
	// backlog is how many frames wait for a machine that does not read; further ones are lost, as on a real switch, and
	// no other machine waits.
	backlog = 1024
)

// wires is the switch: it carries frames between cables and the host. It learns nothing, since it has given out the
// addresses; a machine that takes another one hears only what is meant for all.
type wires struct {
	host   MAC
	toHost func(frame []byte)

	mu     sync.RWMutex
	cables map[MAC]*Cable
	group  sync.WaitGroup
}

func newWires(host MAC, toHost func([]byte)) *wires {
	return &wires{host: host, toHost: toHost, cables: map[MAC]*Cable{}}
}

// Cable connects one machine.
type Cable struct {
	wires *wires
	mac   MAC
	conn  net.Conn
	out   chan []byte
	end   chan struct{}
	once  sync.Once
	cut   atomic.Bool
}

// Attach connects a machine by a stream of frames, each behind its length in four bytes, most significant first. It takes
// the place of an earlier cable of the same lease. The cable ends when either side closes the stream.
func (n *Network) Attach(l *Lease, conn net.Conn) *Cable {
	c := &Cable{wires: n.wires, mac: l.MAC, conn: conn, out: make(chan []byte, backlog), end: make(chan struct{})}
	n.wires.mu.Lock()
	earlier := n.wires.cables[l.MAC]
	n.wires.cables[l.MAC] = c
	n.wires.group.Add(2)
	n.wires.mu.Unlock()
	if earlier != nil {
		earlier.Close()
	}
	go func() {
		defer n.wires.group.Done()
		defer c.Close()
		if err := c.receive(); err != nil && !errors.Is(err, net.ErrClosed) {
			n.log.Debug("a cable has ended", "machine", l.Name, "error", err)
		}
	}()
	go func() {
		defer n.wires.group.Done()
		defer c.Close()
		c.send()
	}()
	return c
}

// Cut loses every frame from now on, in both directions. The machine still sees a carrier, as when a switch fails
// somewhere behind the next one.
func (c *Cable) Cut() { c.cut.Store(true) }

// Heal ends a cut.
func (c *Cable) Heal() { c.cut.Store(false) }

// IsCut tells whether the cable is cut.
func (c *Cable) IsCut() bool { return c.cut.Load() }

// Close takes the cable away.
func (c *Cable) Close() error {
	c.once.Do(func() {
		c.wires.mu.Lock()
		if c.wires.cables[c.mac] == c {
			delete(c.wires.cables, c.mac)
		}
		c.wires.mu.Unlock()
		close(c.end)
		c.conn.Close()
	})
	return nil
}

// receive takes frames from the machine until the stream ends.
func (c *Cable) receive() error {
	for reader := bufio.NewReaderSize(c.conn, 64<<10); ; {
		frame, err := readFrame(reader)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !c.cut.Load() {
			c.wires.carry(c.mac, frame)
		}
	}
}

// readFrame takes one frame from a stream.
func readFrame(r io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(length[:])
	if size < ethernetHeader || size > longestFrame {
		return nil, fmt.Errorf("a frame of %d bytes; %d to %d are possible", size, ethernetHeader, longestFrame)
	}
	frame := make([]byte, size)
	if _, err := io.ReadFull(r, frame); err != nil {
		return nil, fmt.Errorf("the stream ends inside a frame: %w", err)
	}
	return frame, nil
}

// send gives the machine what waits for it.
func (c *Cable) send() {
	for {
		select {
		case <-c.end:
			return
		case frame := <-c.out:
			// One write, so that a frame is whole or the stream is broken.
			if _, err := c.conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...)); err != nil {
				return
			}
		}
	}
}

// carry brings a frame to whom it is meant for. Nobody may change it from here on.
func (w *wires) carry(from MAC, frame []byte) {
	to := MAC(frame[:6])
	if from != w.host && (to == w.host || to.group()) {
		w.toHost(frame)
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	if !to.group() {
		if c := w.cables[to]; c != nil {
			c.offer(frame)
		}
		return
	}
	for mac, c := range w.cables {
		if mac != from {
			c.offer(frame)
		}
	}
}

func (w *wires) fromHost(frame []byte) { w.carry(w.host, frame) }

func (c *Cable) offer(frame []byte) {
	if c.cut.Load() {
		return
	}
	select {
	case c.out <- frame:
	default:
	}
}

func (w *wires) close() {
	w.mu.RLock()
	cables := slices.Collect(maps.Values(w.cables))
	w.mu.RUnlock()
	for _, c := range cables {
		c.Close()
	}
	w.group.Wait()
}
