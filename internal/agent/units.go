package agent

import (
	"context"
	"fmt"
	"sync"
	"syscall"

	systemd "github.com/coreos/go-systemd/v22/dbus"
)

// Unit is what the agent needs to know of a systemd unit.
type Unit struct {
	Load     string // loaded, masked, not-found, error, bad-setting
	Active   string // active, reloading, inactive, failed, activating, deactivating
	Requires []string
	After    []string
}

func (u Unit) runnable() bool { return u.Load == "loaded" }

func (u Unit) running() bool { return u.Active == "active" || u.Active == "reloading" }

// Units asks the service manager.
type Units interface {
	State(ctx context.Context, name string) (Unit, error)
	// Start enqueues the start of a unit with all that it requires. It does not wait.
	Start(ctx context.Context, name string) error
}

// Systemd is the service manager of this machine, over its private socket: the image has no
// bus, and the socket answers uid 0 only.
type Systemd struct {
	mu   sync.Mutex
	conn *systemd.Conn
}

// State reads a unit's properties.
func (s *Systemd) State(ctx context.Context, name string) (Unit, error) {
	var properties map[string]any
	err := s.with(ctx, func(conn *systemd.Conn) (err error) {
		properties, err = conn.GetUnitPropertiesContext(ctx, name)
		return err
	})
	if err != nil {
		return Unit{}, fmt.Errorf("cannot read the state of %s: %w", name, err)
	}
	var u Unit
	u.Load, _ = properties["LoadState"].(string)
	u.Active, _ = properties["ActiveState"].(string)
	u.Requires, _ = properties["Requires"].([]string)
	u.After, _ = properties["After"].([]string)
	return u, nil
}

// Start enqueues a start job. The mode "fail" leaves a job alone that is already on its way,
// such as an operator's stop.
func (s *Systemd) Start(ctx context.Context, name string) error {
	err := s.with(ctx, func(conn *systemd.Conn) error {
		_, err := conn.StartUnitContext(ctx, name, "fail", nil)
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot start %s: %w", name, err)
	}
	return nil
}

// Reload has a running server read its TLS material again. A server that does not run reads it when it starts.
// It is a signal, because the unit has no ExecReload=: the sandbox lets nothing run but the server.
func (s *Systemd) Reload(ctx context.Context, name string) error {
	u, err := s.State(ctx, name)
	if err != nil || !u.running() {
		return err
	}
	err = s.with(ctx, func(conn *systemd.Conn) error {
		return conn.KillUnitWithTarget(ctx, name, systemd.Main, int32(syscall.SIGHUP))
	})
	if err != nil {
		return fmt.Errorf("cannot signal %s: %w", name, err)
	}
	return nil
}

// Close ends the connection.
func (s *Systemd) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop()
}

// with lends the connection, made on first use and again after systemd has been re-executed.
func (s *Systemd) with(ctx context.Context, use func(*systemd.Conn) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil && !s.conn.Connected() {
		s.drop()
	}
	if s.conn == nil {
		// The connection outlives the request that happens to open it.
		conn, err := systemd.NewSystemdConnectionContext(context.WithoutCancel(ctx))
		if err != nil {
			return err
		}
		s.conn = conn
	}
	return use(s.conn)
}

func (s *Systemd) drop() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}
