package cluster

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/serverapi"
)

// seen is what a server says of itself to everybody.
type seen struct {
	initialized, sealed    bool
	marked                 bool          // it says of itself that it was removed
	removed                bool          // and is to be believed, unless the leader lists it
	seal                   string        // "shamir", "transit", …
	version                string        // empty: redacted
	clusterName, clusterID string        // empty: sealed or redacted
	clock                  time.Duration // by how much its clock is ahead of this node's
	clockKnown             bool
	active                 bool   // it is the active node
	activeTime             string // since when; empty: it is not
	leader                 string // URL of the active node's API
	leaderCluster          string // URL of the active node's Raft port
	healthy                bool   // it hears from the active node
}

// healthAnswer is that of sys/health.
type healthAnswer struct {
	Initialized   bool   `json:"initialized"`
	Sealed        bool   `json:"sealed"`
	Version       string `json:"version"`
	ClusterName   string `json:"cluster_name"`
	ClusterID     string `json:"cluster_id"`
	ServerTimeUTC int64  `json:"server_time_utc"`
	Removed       bool   `json:"removed_from_cluster"`
	Connected     *bool  `json:"ha_connection_healthy"` // Vault; nil: it does not say
}

// sealAnswer is that of sys/seal-status.
type sealAnswer struct {
	Type    string `json:"type"`
	Removed bool   `json:"removed_from_cluster"`
}

// leaderAnswer is that of sys/leader.
type leaderAnswer struct {
	IsSelf  bool   `json:"is_self"`
	Since   string `json:"active_time"`
	API     string `json:"leader_address"`
	Cluster string `json:"leader_cluster_address"`
}

// look asks a server what it says to everybody. The clock's difference is known to a second, and to the time that
// the answer took.
func look(ctx context.Context, c *client) (seen, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	before := time.Now()
	var h healthAnswer
	if err := c.ask(ctx, http.MethodGet, serverapi.Health, nil, nil, &h); err != nil {
		return seen{}, err
	}
	middle := before.Add(time.Since(before) / 2)
	var seal sealAnswer
	if err := c.ask(ctx, http.MethodGet, "sys/seal-status", nil, nil, &seal); err != nil {
		return seen{}, err
	}
	s := seen{
		initialized: h.Initialized, sealed: h.Sealed, marked: h.Removed || seal.Removed,
		seal: seal.Type, version: h.Version, clusterName: h.ClusterName, clusterID: h.ClusterID,
		healthy: h.Connected == nil || *h.Connected,
	}
	if h.ServerTimeUTC > 0 {
		s.clockKnown = true
		s.clock = time.Unix(h.ServerTimeUTC, 0).Add(time.Second / 2).Sub(middle)
	}
	if !s.initialized || s.sealed {
		s.removed = s.marked
		return s, nil
	}
	var l leaderAnswer
	if err := c.ask(ctx, http.MethodGet, "sys/leader", nil, nil, &l); err != nil {
		return seen{}, err
	}
	s.removed = s.marked && serverapi.BelieveRemoved(false, l.IsSelf, h.Connected)
	s.activeTime = l.Since
	s.active, s.leader, s.leaderCluster = l.IsSelf, strings.TrimSuffix(l.API, "/"), l.Cluster
	return s, nil
}
