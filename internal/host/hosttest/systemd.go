package hosttest

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/godbus/dbus/v5"
)

// Systemd is a private socket of systemd: no bus, no Hello. Calls counts the questions, Connections who came to ask.
type Systemd struct {
	Calls, Connections atomic.Int32
	// Answer is that to a question: a signature with its body, or the name of an error. nil: the call succeeds and says nothing.
	Answer func(member string, path dbus.ObjectPath) (signature string, body []any, errorName string)

	t          testing.TB
	subscribed chan net.Conn
	conn       net.Conn
}

// ServeSystemd listens at the path of a socket until the test is over.
func ServeSystemd(t testing.TB, socket string, answer func(string, dbus.ObjectPath) (string, []any, string)) *Systemd {
	t.Helper()
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	s := &Systemd{Answer: answer, t: t, subscribed: make(chan net.Conn, 1)}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.Connections.Add(1)
			go s.talk(conn)
		}
	}()
	return s
}

// talk lets a client in and answers it, until it goes.
func (s *Systemd) talk(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch line = strings.TrimLeft(strings.TrimSpace(line), "\x00"); {
		case line == "AUTH":
			io.WriteString(conn, "REJECTED EXTERNAL\r\n")
		case strings.HasPrefix(line, "AUTH EXTERNAL"):
			io.WriteString(conn, "OK 0123456789abcdef0123456789abcdef\r\n")
		case strings.HasPrefix(line, "NEGOTIATE_UNIX_FD"):
			io.WriteString(conn, "AGREE_UNIX_FD\r\n")
		}
		if line == "BEGIN" {
			break
		}
	}
	for {
		call, err := dbus.DecodeMessage(in)
		if err != nil {
			return
		}
		if call.Type != dbus.TypeMethodCall || call.Flags&dbus.FlagNoReplyExpected != 0 {
			continue
		}
		member, _ := call.Headers[dbus.FieldMember].Value().(string)
		path, _ := call.Headers[dbus.FieldPath].Value().(dbus.ObjectPath)
		var signature, errorName string
		var body []any
		if member != "AddMatch" { // go-systemd subscribes to signals of the bus
			s.Calls.Add(1)
			if s.Answer != nil {
				signature, body, errorName = s.Answer(member, path)
			}
		}
		reply := &dbus.Message{Type: dbus.TypeMethodReply, Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldReplySerial: dbus.MakeVariant(call.Serial()),
		}}
		if errorName != "" {
			reply.Type = dbus.TypeError
			reply.Headers[dbus.FieldErrorName] = dbus.MakeVariant(errorName)
		}
		if signature != "" {
			reply.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.ParseSignatureMust(signature))
			reply.Body = body
		}
		if reply.EncodeTo(conn, binary.LittleEndian) != nil {
			return
		}
		if member == "Subscribe" && errorName == "" {
			select {
			case s.subscribed <- conn:
			default:
			}
		}
	}
}

// Send sends a signal, its name with its interface, to the first client that subscribed, and waits for one.
func (s *Systemd) Send(path, name string, body ...any) {
	s.t.Helper()
	at := strings.LastIndex(name, ".")
	signal := &dbus.Message{Type: dbus.TypeSignal, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldPath:      dbus.MakeVariant(dbus.ObjectPath(path)),
		dbus.FieldInterface: dbus.MakeVariant(name[:at]),
		dbus.FieldMember:    dbus.MakeVariant(name[at+1:]),
	}, Body: body}
	if len(body) > 0 {
		signal.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(body...))
	}
	if err := signal.EncodeTo(s.subscriber(), binary.LittleEndian); err != nil {
		s.t.Fatal(err)
	}
}

// HangUp ends the connection of that client.
func (s *Systemd) HangUp() { s.subscriber().Close() }

func (s *Systemd) subscriber() net.Conn {
	if s.conn == nil {
		s.conn = <-s.subscribed
	}
	return s.conn
}
