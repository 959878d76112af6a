package telemetry

import (
	"maps"
	"sync"
	"time"
)

// Node is what this node is called. Nothing of it is secret.
type Node struct {
	ID      string // of the Raft configuration
	Cluster string // "prod-eu1"
	Seal    string // "transit", "shamir", …
}

var (
	nodeInfo  = desc("hostcheck_node_info", "What this node is called.", "node_id", "cluster", "seal")
	tlsExpiry = desc("hostcheck_tls_expiry_timestamp_seconds", "When the node's TLS material ends to be valid.", "certificate")
)

// SetNode says from now on what this node is called.
func (e *Exporter) SetNode(n Node) { e.node.Store(&n) }

// SetTLSExpiry says when a certificate ends to be valid: "node" is the node's own, "ca" the first of its authorities
// that ends. A renewed certificate replaces the one before.
func (e *Exporter) SetTLSExpiry(name string, notAfter time.Time) { e.expiry.set(name, notAfter) }

// expiry is when each certificate ends.
type expiry struct {
	mu    sync.Mutex
	times map[string]time.Time
}

func (e *expiry) set(name string, t time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.times == nil {
		e.times = map[string]time.Time{}
	}
	e.times[name] = t
}

func (e *expiry) all() map[string]time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.times)
}
