package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Snapshots is what the last run of hostcheck snapshot came to.
type Snapshots struct {
	At      time.Time     // of the run
	Active  bool          // the node led then; otherwise the rest is what it knew before
	Failed  bool          // nothing could be done at all
	Seconds float64       // that the last archive took; 0: none was taken since the boot
	Sinks   []SnapshotsOf // in the order of node.hcl
}

// SnapshotsOf is about the newest archive of one sink that counts as a backup. A time that is zero is not known.
type SnapshotsOf struct {
	Sink            string
	Archive         string
	Seal, KeyID     string // what a restore needs; no secret
	Taken, Verified time.Time
	Bytes           int64 // encrypted
	Failed          bool  // in the last run
	Restored        time.Time
	RestoreFailed   bool // the last rehearsal of a restore
}

var (
	snapshotActive   = desc("hostcheck_snapshot_active", "Whether the node led when it last looked whether a snapshot is due.")
	snapshotRun      = desc("hostcheck_snapshot_last_run_timestamp_seconds", "When hostcheck snapshot ran last.")
	snapshotFailing  = desc("hostcheck_snapshot_run_failed", "Whether the last run could do nothing at all.")
	snapshotDuration = desc("hostcheck_snapshot_duration_seconds", "Time that the last snapshot took.")
	snapshotTaken    = desc("hostcheck_snapshot_taken_timestamp_seconds", "When the newest archive that counts was taken.", "sink")
	snapshotVerified = desc("hostcheck_snapshot_verified_timestamp_seconds", "When it was read back and found whole.", "sink")
	snapshotSize     = desc("hostcheck_snapshot_size_bytes", "Its size in the sink.", "sink")
	snapshotFailed   = desc("hostcheck_snapshot_failed", "Whether the sink failed in the last run.", "sink")
	snapshotInfo     = desc("hostcheck_snapshot_info", "The newest archive that counts, and the seal that a restore of it needs.", "sink", "archive", "seal", "key_id")
	snapshotRestored = desc("hostcheck_snapshot_restored_timestamp_seconds", "When an archive of the sink was last restored in a throw-away server.", "sink")
	restoreFailed    = desc("hostcheck_snapshot_restore_failed", "Whether the last rehearsal of a restore failed.", "sink")
)

var snapshotDescs = []*prometheus.Desc{snapshotActive, snapshotRun, snapshotFailing, snapshotDuration, snapshotTaken, snapshotVerified, snapshotSize, snapshotFailed,
	snapshotInfo, snapshotRestored, restoreFailed}

// SetSnapshots shows this result from now on.
func (e *Exporter) SetSnapshots(s Snapshots) {
	e.snapshots.Store(&s)
	e.wake()
}

func (s *Snapshots) collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	moment := func(d *prometheus.Desc, t time.Time, labels ...string) {
		if !t.IsZero() {
			gauge(d, seconds(t), labels...)
		}
	}
	gauge(snapshotActive, truth(s.Active))
	moment(snapshotRun, s.At)
	gauge(snapshotFailing, truth(s.Failed))
	if s.Seconds > 0 {
		gauge(snapshotDuration, s.Seconds)
	}
	for _, k := range s.Sinks {
		gauge(snapshotFailed, truth(k.Failed), k.Sink)
		moment(snapshotTaken, k.Taken, k.Sink)
		moment(snapshotVerified, k.Verified, k.Sink)
		if k.Archive != "" {
			gauge(snapshotSize, float64(k.Bytes), k.Sink)
			gauge(snapshotInfo, 1, k.Sink, k.Archive, k.Seal, k.KeyID)
		}
		moment(snapshotRestored, k.Restored, k.Sink)
		if k.RestoreFailed || !k.Restored.IsZero() {
			gauge(restoreFailed, truth(k.RestoreFailed), k.Sink)
		}
	}
}
