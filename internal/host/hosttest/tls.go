package hosttest

import (
	"context"

	"github.com/strongroom/strongroom/internal/host"
)

// SetTLSListener sets what a server shows at an address ("127.0.0.1:8200"). Other addresses stay unset.
func (h *Host) SetTLSListener(address string, v host.TLSListener) *Host {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tls[address] = v
	return h
}

// TLSListener implements host.Host.
func (h *Host) TLSListener(_ context.Context, address, _ string) (host.TLSListener, error) {
	return getKeyed(h, "TLSListener", h.tls, address)
}
