package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	sd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
)

// systemd is a lazy connection to PID 1.
//
// It takes systemd's private socket first, the one that systemctl uses as root. The image has no
// bus daemon: a broker would be a second process that everything on the node may talk to, with a
// policy of its own to harden and to check, only to carry questions that root can ask PID 1
// directly. The price is uid 0, which the gate has anyway. Machines that have a system bus are
// served over it when the private socket is out of reach.
type systemd struct {
	socket string
	bus    bool // the system bus may be tried

	mu     sync.Mutex
	conn   *sd.Conn
	cancel context.CancelFunc
}

func (s *systemd) connect(ctx context.Context) (*sd.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		return s.conn, nil
	}
	// godbus closes a connection when its context ends. The connection outlives the check that
	// happens to open it, so it has a context of its own, tied to the caller's while dialling only.
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	conn, err := sd.NewConnection(func() (*dbus.Conn, error) { return DialSystemd(life, s.socket) })
	if err != nil && s.bus {
		private := err
		if conn, err = sd.NewConnection(func() (*dbus.Conn, error) { return dialBus(life) }); err != nil {
			err = fmt.Errorf("private socket: %w; system bus: %w", private, err)
		}
	}
	if !stop() {
		err = errors.Join(ctx.Err(), err)
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("cannot reach systemd (%s needs uid 0): %w", s.socket, err)
	}
	s.conn, s.cancel = conn, cancel
	return conn, nil
}

func (s *systemd) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		s.conn.Close()
		s.cancel()
		s.conn = nil
	}
}

// DialSystemd connects to systemd's private socket, at a path that tests can choose; the connection ends with the context. A peer-to-peer
// connection has no Hello.
func DialSystemd(ctx context.Context, socket string) (*dbus.Conn, error) {
	conn, err := dbus.Dial("unix:path="+dbus.EscapeBusAddressValue(socket), dbus.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	return conn, authenticate(conn)
}

func dialBus(ctx context.Context) (*dbus.Conn, error) {
	conn, err := dbus.SystemBusPrivate(dbus.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	if err := authenticate(conn); err != nil {
		return nil, err
	}
	if err := conn.Hello(); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func authenticate(conn *dbus.Conn) error {
	if err := conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Geteuid()))}); err != nil {
		conn.Close()
		return err
	}
	return nil
}

func (s *systemd) units(ctx context.Context) ([]UnitStatus, error) {
	conn, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	list, err := conn.ListUnitsContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot list units: %w", err)
	}
	out := make([]UnitStatus, 0, len(list))
	for _, u := range list {
		out = append(out, UnitStatus{Name: u.Name, LoadState: u.LoadState, ActiveState: u.ActiveState})
	}
	slices.SortFunc(out, func(a, b UnitStatus) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func (s *systemd) unit(ctx context.Context, name string) (Unit, error) {
	conn, err := s.connect(ctx)
	if err != nil {
		return Unit{}, err
	}
	// One GetAll without an interface gives the properties of all interfaces of the unit (Unit
	// and Service, Mount, Socket, …). systemd loads a unit that it does not have yet.
	properties, err := conn.GetAllPropertiesContext(ctx, name)
	if err != nil {
		return Unit{}, fmt.Errorf("cannot read unit %s: %w", name, err)
	}
	u := Unit{Name: name, Properties: make(map[string]string, len(properties))}
	for k, v := range properties {
		u.Properties[k] = canonicalProperty(k, v)
	}
	u.LoadState = u.Properties["LoadState"]
	u.ActiveState = u.Properties["ActiveState"]
	u.UnitFileState = u.Properties["UnitFileState"]
	if u.LoadState == "" {
		return Unit{}, fmt.Errorf("cannot read unit %s: systemd gave no LoadState", name)
	}
	return u, nil
}

func (s *systemd) unitStatus(ctx context.Context, name string) (UnitStatus, error) {
	conn, err := s.connect(ctx)
	if err != nil {
		return UnitStatus{}, err
	}
	list, err := conn.ListUnitsByNamesContext(ctx, []string{name})
	if err != nil {
		return UnitStatus{}, fmt.Errorf("cannot read the state of unit %s: %w", name, err)
	}
	if len(list) != 1 || list[0].LoadState == "" {
		return UnitStatus{}, fmt.Errorf("cannot read the state of unit %s: systemd gave none", name)
	}
	// The name is the one that was asked for: systemd answers with the name behind an alias.
	return UnitStatus{Name: name, LoadState: list[0].LoadState, ActiveState: list[0].ActiveState}, nil
}
