package cluster

import (
	"sync/atomic"
	"syscall"
	"testing"
)

// unit is a server that is started anew whenever it ends, as systemd does.
type unit struct{ starts, pid atomic.Int64 }

func underSystemd(t *testing.T, m *member) *unit {
	u := &unit{}
	started := make(chan struct{}, 1)
	go func() {
		for t.Context().Err() == nil {
			m.start()
			u.pid.Store(int64(m.process.Process.Pid))
			u.starts.Add(1)
			select {
			case started <- struct{}{}:
			default:
			}
			<-m.gone
		}
	}()
	<-started
	return u
}

func (u *unit) kill() { _ = syscall.Kill(int(u.pid.Load()), syscall.SIGKILL) }
