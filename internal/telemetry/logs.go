package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// AuditLog is how the file device of the audit log fares.
type AuditLog struct {
	Size, Available uint64    // bytes of its file system
	Written         time.Time // zero: there is no file
}

var (
	auditSize      = desc("hostcheck_audit_filesystem_size_bytes", "Size of the file system that the audit log lies on.")
	auditAvailable = desc("hostcheck_audit_filesystem_avail_bytes", "What of it the server may still use.")
	journalNewest  = desc("hostcheck_journal_newest_timestamp_seconds", "When the newest entry of the journal was written.")
	journalShipped = desc("hostcheck_journal_shipped_timestamp_seconds", "When the newest entry was written that the receiver of the journal has confirmed.")
	journalBacklog = desc("hostcheck_journal_backlog_entries", "Entries of the journal that the receiver has not confirmed.")
	auditWatched   = desc("hostcheck_audit_watched_timestamp_seconds", "When the audit log was looked at last for root tokens.")
	auditUnread    = desc("hostcheck_audit_unreadable_lines_total", "Lines of the audit log that the watch for root tokens could not read.")
	rootUses       = desc("hostcheck_root_token_uses_total", "Requests with a root token since the node started.")
	rootMade       = desc("hostcheck_root_token_made_total", "Root tokens that were made since the node started.")
	rootLast       = desc("hostcheck_root_token_last_timestamp_seconds", "When a root token was last used or made.")
	auditWritten   = desc("hostcheck_audit_file_written_timestamp_seconds", "When the file of the audit log was written last.")
)

var logDescs = []*prometheus.Desc{journalNewest, journalShipped, journalBacklog, auditSize, auditAvailable, auditWritten, auditWatched, auditUnread, rootUses, rootMade, rootLast}

// SetAuditLog shows this from now on; nil: nothing is known.
func (e *Exporter) SetAuditLog(a *AuditLog) { e.audit.Store(a) }

// Shipping is how much of the journal has left the node.
type Shipping struct {
	Newest, Shipped time.Time // zero: nothing was confirmed yet
	Backlog         uint64    // entries
}

// SetShipping shows this from now on; nil: nothing is known.
func (e *Exporter) SetShipping(s *Shipping) { e.shipping.Store(s) }

func (s *Shipping) collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value)
	}
	gauge(journalNewest, seconds(s.Newest))
	gauge(journalBacklog, float64(s.Backlog))
	if !s.Shipped.IsZero() {
		gauge(journalShipped, seconds(s.Shipped))
	}
}

// RootTokens is what the watch of the audit log has seen since the node started.
type RootTokens struct {
	Watched    time.Time // it looked last
	Uses, Made uint64
	Last       time.Time // zero: none was used or made
	Unreadable uint64
}

// SetRootTokens shows this from now on; nil: nothing is known. A use that is new is pushed at once.
func (e *Exporter) SetRootTokens(r *RootTokens) {
	before := e.roots.Swap(r)
	if r != nil && (before == nil && r.Uses+r.Made > 0 || before != nil && (before.Uses != r.Uses || before.Made != r.Made)) {
		e.wake()
	}
}

func (r *RootTokens) collect(ch chan<- prometheus.Metric) {
	metric := func(d *prometheus.Desc, kind prometheus.ValueType, value float64) {
		ch <- prometheus.MustNewConstMetric(d, kind, value)
	}
	metric(auditWatched, prometheus.GaugeValue, seconds(r.Watched))
	metric(auditUnread, prometheus.CounterValue, float64(r.Unreadable))
	metric(rootUses, prometheus.CounterValue, float64(r.Uses))
	metric(rootMade, prometheus.CounterValue, float64(r.Made))
	if !r.Last.IsZero() {
		metric(rootLast, prometheus.GaugeValue, seconds(r.Last))
	}
}

func (a *AuditLog) collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value)
	}
	gauge(auditSize, float64(a.Size))
	gauge(auditAvailable, float64(a.Available))
	if !a.Written.IsZero() {
		gauge(auditWritten, seconds(a.Written))
	}
}
