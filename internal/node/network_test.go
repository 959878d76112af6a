package node

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"
)

// wire is a network in memory: what answers at "address:port". Being without sockets it stands still in a synctest
// bubble, so that minutes of a server that hangs pass at once.
type wire struct {
	mu     sync.Mutex
	hosts  map[string]func(net.Conn)
	dialed []string
}

func newWire() *wire { return &wire{hosts: map[string]func(net.Conn){}} }

// https puts a server with a certificate at an address.
func (w *wire) https(t *testing.T, address string, cert, key []byte, h http.HandlerFunc) {
	t.Helper()
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	w.hosts[address] = func(c net.Conn) { serve(h)(tls.Server(c, &tls.Config{Certificates: []tls.Certificate{pair}})) }
}

// silent accepts and never says a word; swallowed does not even accept.
func (w *wire) silent(address string) {
	w.hosts[address] = func(c net.Conn) {
		_, _ = io.Copy(io.Discard, c)
		c.Close()
	}
}
func (w *wire) swallowed(address string) { w.hosts[address] = nil }

func (w *wire) dial(ctx context.Context, _, address string) (net.Conn, error) {
	w.mu.Lock()
	w.dialed = append(w.dialed, address)
	server, known := w.hosts[address]
	w.mu.Unlock()
	if !known {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	if server == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	ours, theirs := net.Pipe()
	go server(buffer(theirs))
	return buffer(ours), nil
}

func (w *wire) dials() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.dialed)
}

// lookup knows one name.
func lookup(name string, addresses ...string) func(context.Context, string) ([]netip.Addr, error) {
	return func(_ context.Context, host string) ([]netip.Addr, error) {
		if host != name {
			return nil, errors.New("no such host")
		}
		var out []netip.Addr
		for _, a := range addresses {
			out = append(out, netip.MustParseAddr(a))
		}
		return out, nil
	}
}

// serve speaks HTTP on one connection.
func serve(h http.HandlerFunc) func(net.Conn) {
	return func(c net.Conn) {
		_ = (&http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}).Serve(&once{conn: c})
	}
}

// once is a listener with one connection.
type once struct{ conn net.Conn }

func (o *once) Accept() (net.Conn, error) {
	c := o.conn
	o.conn = nil
	if c == nil {
		return nil, io.EOF
	}
	return c, nil
}
func (o *once) Close() error   { return nil }
func (o *once) Addr() net.Addr { return &net.TCPAddr{} }

// buffered is one end of a pipe with room for what is written, as a socket has it: TLS writes on both ends at once.
type buffered struct {
	net.Conn
	mu     sync.Mutex
	more   *sync.Cond
	queue  []byte
	closed bool
}

func buffer(c net.Conn) net.Conn {
	b := &buffered{Conn: c}
	b.more = sync.NewCond(&b.mu)
	go b.pump()
	return b
}

func (b *buffered) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, net.ErrClosed
	}
	b.queue = append(b.queue, p...)
	b.more.Signal()
	return len(p), nil
}

// Close lets what was written arrive, if it is read at all.
func (b *buffered) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.closed = true
		b.more.Signal()
		go io.Copy(io.Discard, b.Conn) // until the other end has closed too
	}
	return nil
}

func (b *buffered) pump() {
	defer b.Conn.Close()
	for {
		b.mu.Lock()
		for len(b.queue) == 0 && !b.closed {
			b.more.Wait()
		}
		chunk, closed := b.queue, b.closed
		b.queue = nil
		b.mu.Unlock()
		if len(chunk) > 0 { // writing nothing would end a read with nothing
			if _, err := b.Conn.Write(chunk); err != nil {
				b.mu.Lock()
				b.closed = true
				b.mu.Unlock()
				return
			}
		}
		if closed {
			return
		}
	}
}

// Writing never waits, so a deadline of theirs would only end the pump's.
func (b *buffered) SetWriteDeadline(time.Time) error { return nil }
func (b *buffered) SetDeadline(t time.Time) error    { return b.SetReadDeadline(t) }
func (b *buffered) SetReadDeadline(t time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return net.ErrClosed
	}
	return b.Conn.SetReadDeadline(t)
}
