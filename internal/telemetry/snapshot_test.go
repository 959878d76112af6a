package telemetry_test

import (
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/telemetry"
)

func everySnapshot() telemetry.Snapshots {
	at := time.UnixMilli(1_700_000_000_500)
	return telemetry.Snapshots{At: at, Active: true, Seconds: 1.5, Sinks: []telemetry.SnapshotsOf{{
		Sink: "s3:backup/vault/", Archive: "prod.1.snap.age", Seal: "transit", KeyID: "unseal/1", Taken: at, Verified: at, Bytes: 7, Restored: at, RestoreFailed: true}}}
}

// What was never taken has no age: an alarm on absence says so, and not one on 1970.
func TestSnapshotMetrics(t *testing.T) {
	e := telemetry.NewExporter(telemetry.Build{})
	h := e.Handler(telemetry.Probes{Alive: yes, Server: ready}, nil, quiet)
	page := func() string { return get(h, "GET", "/metrics").Body.String() }
	if strings.Contains(page(), "hostcheck_snapshot") {
		t.Error("a snapshot is shown before there was a run")
	}
	e.SetSnapshots(everySnapshot())
	for _, want := range []string{
		`hostcheck_snapshot_active 1`, `hostcheck_snapshot_last_run_timestamp_seconds 1.7000000005e+09`, `hostcheck_snapshot_run_failed 0`, `hostcheck_snapshot_duration_seconds 1.5`,
		`hostcheck_snapshot_taken_timestamp_seconds{sink="s3:backup/vault/"} 1.7000000005e+09`, `hostcheck_snapshot_size_bytes{sink="s3:backup/vault/"} 7`,
		`hostcheck_snapshot_info{archive="prod.1.snap.age",key_id="unseal/1",seal="transit",sink="s3:backup/vault/"} 1`,
		`hostcheck_snapshot_failed{sink="s3:backup/vault/"} 0`, `hostcheck_snapshot_restore_failed{sink="s3:backup/vault/"} 1`,
	} {
		if !strings.Contains(page(), "\n"+want+"\n") {
			t.Errorf("the page lacks %s", want)
		}
	}
	e.SetSnapshots(telemetry.Snapshots{At: time.Now(), Failed: true, Sinks: []telemetry.SnapshotsOf{{Sink: "file:/x", Failed: true}}})
	now := page()
	if !strings.Contains(now, "\nhostcheck_snapshot_run_failed 1\n") || !strings.Contains(now, "\nhostcheck_snapshot_failed{sink=\"file:/x\"} 1\n") {
		t.Error("a failure is not shown")
	}
	for _, absent := range []string{"snapshot_taken", "snapshot_info", "snapshot_size", "snapshot_restore", "snapshot_duration"} {
		if strings.Contains(now, "\nhostcheck_"+absent) {
			t.Errorf("%s is shown and not known", absent)
		}
	}
}
