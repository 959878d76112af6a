package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"

	"github.com/strongroom/strongroom/internal/cluster"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/snapshot"
	"github.com/strongroom/strongroom/internal/telemetry"
)

// SnapshotSource is this node's server as hostcheck snapshot asks it: with a token that may do nothing else. It is logged in for by the
// node's certificate, in a role of its own, or read from where node.hcl says.
func SnapshotSource(ctx context.Context, id node.Identity, addr, credentials string, references node.Reader, log *slog.Logger) (*cluster.Source, error) {
	var given node.Secret
	var login func() *node.Auth
	if id.Auth != nil {
		auth := *id.Auth
		auth.Role = id.Snapshot.Role
		login = func() *node.Auth { return &auth }
	} else {
		token, err := references.Read(ctx, id.Snapshot.Token, 8<<10)
		if err != nil {
			return nil, node.Hinted(fmt.Errorf("there is no token that may read a snapshot: %w", err),
				"hand it over, or add an auth block to node.hcl: docs/snapshot.md")
		}
		given = node.NewSecret(bytes.TrimSpace(token))
	}
	m := readMaterial(credentials, log)
	certificate := certificateOf(credentials)
	return cluster.NewSource(addr, m.name, id.CA, certificate, cluster.NewSession(given, login, certificate)), nil
}

// SnapshotReader reads what the snapshot block refers to. It believes the cluster's authorities beside the image's, and shows the node's
// certificate to a server that asks.
func SnapshotReader(id node.Identity, credentials string) node.Reader {
	r := node.Reader{Credentials: credentials}.Believing([]byte(id.CA))
	if c, err := certificateOf(credentials)(); err == nil {
		r.Certificate = []tls.Certificate{*c}
	}
	return r
}

// showSnapshots shows the result of the last run of hostcheck snapshot, when there is a new one.
func (a *Agent) showSnapshots() {
	if a.Snapshots == "" {
		return
	}
	r, err := snapshot.ReadResult(a.Snapshots)
	if err != nil {
		a.Log.Warn("cannot read what the last snapshot came to", "error", err)
		return
	}
	if r == nil || r.At.Equal(a.backup) {
		return
	}
	a.backup = r.At
	shown := telemetry.Snapshots{At: r.At, Active: r.Active, Failed: r.Error != "", Seconds: r.Seconds}
	for _, s := range r.Sinks {
		shown.Sinks = append(shown.Sinks, telemetry.SnapshotsOf{
			Sink: s.Sink, Archive: s.Archive, Seal: s.Seal, KeyID: s.KeyID, Taken: s.Taken, Verified: s.Verified, Bytes: s.Bytes,
			Failed: s.Error != "", Restored: s.Restored, RestoreFailed: s.RestoreError != "",
		})
	}
	a.Exporter.SetSnapshots(shown)
}
