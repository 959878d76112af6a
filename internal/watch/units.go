package watch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	bus "github.com/godbus/dbus/v5"

	"github.com/strongroom/strongroom/internal/host"
)

// answerTime is for systemd to let this process in.
const answerTime = 10 * time.Second

const (
	unitPaths = "/org/freedesktop/systemd1/unit/"
	changes   = "org.freedesktop.DBus.Properties.PropertiesChanged"
	reloading = "org.freedesktop.systemd1.Manager.Reloading"
)

// units listens to systemd at its private socket, which uid 0 may open: the image has no bus. A unit that is loaded or unloaded is no
// change, since asking for it does that; neither is what own does, the unit of this process, whose status line is its own doing.
func units(socket, own string) source {
	return func(ctx context.Context, ready, changed func()) error {
		// The connection ends with its context, and whoever waits for it with both.
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		slow := time.AfterFunc(answerTime, cancel)
		defer slow.Stop()
		conn, err := host.DialSystemd(ctx, socket)
		if err != nil {
			return fmt.Errorf("cannot reach systemd: %w", err)
		}
		defer conn.Close()
		signals := make(chan *bus.Signal, 64)
		conn.Signal(signals)
		manager := conn.Object("org.freedesktop.systemd1", "/org/freedesktop/systemd1")
		if err := manager.CallWithContext(ctx, "org.freedesktop.systemd1.Manager.Subscribe", 0).Err; err != nil {
			return fmt.Errorf("systemd does not tell of changes: %w", err)
		}
		if !slow.Stop() {
			return errors.New("systemd does not answer in time")
		}
		ready()
		mine := bus.ObjectPath(unitPaths + dbus.PathBusEscape(own))
		for signal := range signals {
			switch {
			case signal.Name == changes && strings.HasPrefix(string(signal.Path), unitPaths) && signal.Path != mine:
				changed()
			case signal.Name == reloading && !begins(signal):
				changed()
			}
		}
		return errors.New("systemd has closed the connection")
	}
}

// begins reports whether systemd starts to read its units again; when it has is of interest.
func begins(signal *bus.Signal) bool {
	if len(signal.Body) != 1 {
		return false
	}
	active, _ := signal.Body[0].(bool)
	return active
}
