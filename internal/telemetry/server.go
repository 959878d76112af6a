package telemetry

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
)

// maxConnections is many times what a monitoring system and a few load balancers need.
const maxConnections = 64

// NewServer gives a server whose every wait and size is bounded. HTTP/2 is left out: for a
// few small pages it is only more state that a peer can grow.
func NewServer(handler http.Handler, log *slog.Logger) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:           handler,
		Protocols:         &protocols,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      15 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    8 << 10,
		// Handshakes that fail are the peers' mistakes: they must not fill the journal.
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// Limit bounds the connections of a listener and, with a configuration, encrypts them.
func Limit(l net.Listener, config *tls.Config) net.Listener {
	l = netutil.LimitListener(l, maxConnections)
	if config != nil {
		l = tls.NewListener(l, config)
	}
	return l
}
