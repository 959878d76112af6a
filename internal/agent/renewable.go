package agent

import (
	"crypto/tls"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// renewable is the TLS material of the agent's port. It is read anew when configure has replaced it.
type renewable struct {
	dir, credentials string
	log              *slog.Logger
	expires          func(name string, notAfter time.Time)

	seen    os.FileInfo // of dir; nil: it is not there
	current atomic.Pointer[material]
}

func newRenewable(dir, credentials string, log *slog.Logger, expires func(string, time.Time)) *renewable {
	r := &renewable{dir: dir, credentials: credentials, log: log, expires: expires}
	r.seen, _ = os.Stat(dir)
	r.use(readMaterialFrom(dir, credentials, log))
	return r
}

func (r *renewable) use(m material) {
	r.current.Store(&m)
	for name, end := range m.expiry() {
		r.expires(name, end)
	}
}

// refresh looks whether there is new material. The port shows it from the next handshake on. It gives false when the
// authorities or the node's name are others than before, which every client of the agent was made with: the agent then ends, and
// systemd starts it with the new ones.
func (r *renewable) refresh() bool {
	info, err := os.Stat(r.dir)
	if err != nil || r.seen != nil && os.SameFile(info, r.seen) {
		return true
	}
	fresh, old := readMaterialFrom(r.dir, r.credentials, r.log), *r.current.Load()
	r.seen = info
	if fresh.cert == nil && old.cert != nil {
		return true // what does not fit together is of no use; the reason has been logged
	}
	r.use(fresh)
	r.log.Info("TLS material was renewed", "expires", fresh.expiry()["node"])
	return old.cert != nil && fresh.sameIdentity(old)
}

// serverTLS is for the agent's port. TLS 1.2 is allowed, because health checkers of cloud load
// balancers speak no newer one. It is nil when there is no certificate.
func (r *renewable) serverTLS() *tls.Config {
	if r.current.Load().cert == nil {
		return nil
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return r.current.Load().cert, nil },
	}
}
