package checktest

import (
	"time"

	"github.com/strongroom/strongroom/internal/host"
)

// TLSListener is what a conforming server shows. Tests may change it; each call gives another one.
func TLSListener() host.TLSListener {
	return host.TLSListener{
		Checked: time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC),
		Versions: []host.TLSVersion{
			{Version: "1.0", Reason: "remote error: tls: protocol version not supported"},
			{Version: "1.1", Reason: "remote error: tls: protocol version not supported"},
			{Version: "1.2", Accepted: true, Suite: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"},
			{Version: "1.3", Accepted: true, Suite: "TLS_AES_128_GCM_SHA256"},
		},
		Certificate: &host.Certificate{
			Subject: "CN=vault-1", Issuer: "CN=prod-eu1", DNSNames: []string{"vault-1.example.net"}, Addresses: []string{"10.1.2.3"},
			NotBefore: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2027, 1, 30, 0, 0, 0, 0, time.UTC),
			KeyType: "ECDSA", KeyBits: 256, Signature: "ECDSA-SHA256",
		},
		Health: host.Health{Status: 503, HSTS: "max-age=31536000", Version: "1.21.1"},
	}
}
