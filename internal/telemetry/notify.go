package telemetry

import (
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Notify tells systemd about this service; without systemd it does nothing.
func Notify(state string) error {
	_, err := daemon.SdNotify(false, state)
	return err
}

// Watchdog says how long systemd waits for a sign of life; 0 means that it does not.
func Watchdog() (time.Duration, error) { return daemon.SdWatchdogEnabled(false) }
