package agent

import (
	"github.com/strongroom/strongroom/internal/logs"
	"github.com/strongroom/strongroom/internal/telemetry"
)

// showLogs shows how the logs of this node fare.
func (a *Agent) showLogs() {
	a.showAudit()
	a.showRootTokens()
	a.showShipping()
}

// showShipping shows how much of the journal has left the node, where the image ships it.
func (a *Agent) showShipping() {
	if !a.ShipsLogs {
		return
	}
	b, err := logs.LookAtBacklog(logs.JournalDirectory, logs.UploadState)
	if err != nil {
		a.Exporter.SetShipping(nil)
		if a.unshipped.changed(err.Error()) {
			a.Log.Error(err.Error())
		}
		return
	}
	a.unshipped.changed("")
	a.Exporter.SetShipping(&telemetry.Shipping{Newest: b.Newest, Shipped: b.Shipped, Backlog: b.Entries})
}

// showRootTokens shows what the watch of the audit log has left.
func (a *Agent) showRootTokens() {
	if a.AuditSeen == "" {
		return
	}
	seen, err := logs.ReadSeen(a.AuditSeen)
	if err != nil {
		a.Exporter.SetRootTokens(nil)
		if a.unseen.changed(err.Error()) {
			a.Log.Error("cannot read what the watch of the audit log has seen", "error", err)
		}
		return
	}
	a.unseen.changed("")
	if seen != nil {
		a.Exporter.SetRootTokens(&telemetry.RootTokens{Watched: seen.At, Uses: seen.Uses, Made: seen.Made, Last: seen.LastUse, Unreadable: seen.Unreadable})
	}
}

func (a *Agent) showAudit() {
	audit, err := logs.LookAtAudit(a.Server.Audit)
	if err != nil {
		a.Exporter.SetAuditLog(nil)
		if a.blind.changed(err.Error()) {
			a.Log.Error(err.Error())
		}
		return
	}
	a.blind.changed("")
	a.Exporter.SetAuditLog(&telemetry.AuditLog{Size: audit.Size, Available: audit.Available, Written: audit.Written})
}
