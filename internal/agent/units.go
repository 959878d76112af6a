package agent

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"

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
	// Stop has a unit stopped, and waits until it is.
	Stop(ctx context.Context, name string) error
}

// Systemd is the service manager of this machine, over its private socket: the image has no
// bus, and the socket answers uid 0 only.
type Systemd struct {
	mu   sync.Mutex
	conn *systemd.Conn
}

// State reads a unit's properties.
func (s *Systemd) State(ctx context.Context, name string) (Unit, error) {
	properties, err := s.properties(ctx, name)
	if err != nil {
		return Unit{}, err
	}
	var u Unit
	u.Load, _ = properties["LoadState"].(string)
	u.Active, _ = properties["ActiveState"].(string)
	u.Requires, _ = properties["Requires"].([]string)
	u.After, _ = properties["After"].([]string)
	return u, nil
}

func (s *Systemd) properties(ctx context.Context, name string) (properties map[string]any, err error) {
	err = s.with(ctx, func(conn *systemd.Conn) (err error) {
		properties, err = conn.GetUnitPropertiesContext(ctx, name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read the state of %s: %w", name, err)
	}
	return properties, nil
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

// Stop stops a unit.
func (s *Systemd) Stop(ctx context.Context, name string) error {
	err := s.with(ctx, func(conn *systemd.Conn) error {
		_, err := conn.StopUnitContext(ctx, name, "replace", nil)
		return err
	})
	for err == nil {
		var u Unit
		if u, err = s.State(ctx, name); err == nil && (u.Active == "inactive" || u.Active == "failed") {
			return nil
		}
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	return fmt.Errorf("cannot stop %s: %w", name, err)
}

// SwitchedOff reports whether systemd is about to switch the machine off or to halt it, and not to start it again: a restart has another target, and
// who stops a unit by hand has none. The job of the target waits until the very end.
func (s *Systemd) SwitchedOff(ctx context.Context) (bool, error) {
	for _, target := range []string{"poweroff.target", "halt.target"} {
		properties, err := s.properties(ctx, target)
		if err != nil {
			return false, err
		}
		if hasJob(properties) {
			return true, nil
		}
	}
	return false, nil
}

// hasJob looks for a unit's job, (uo) on the bus: 0 is none.
func hasJob(properties map[string]any) bool {
	job, _ := properties["Job"].([]any)
	if len(job) == 0 {
		return false
	}
	id, _ := job[0].(uint32)
	return id != 0
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

// Restart starts a unit again that runs. It does not wait.
func (s *Systemd) Restart(ctx context.Context, name string) error {
	err := s.with(ctx, func(conn *systemd.Conn) error {
		_, err := conn.TryRestartUnitContext(ctx, name, "replace", nil)
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot start %s again: %w", name, err)
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
