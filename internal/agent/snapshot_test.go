package agent

import (
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/snapshot"
	"github.com/strongroom/strongroom/internal/telemetry"
)

// The agent shows what the last run of hostcheck snapshot has left, and the next one after that.
func TestSnapshotIsShown(t *testing.T) {
	m := newMachine(t)
	a := m.agent
	a.Snapshots = filepath.Join(t.TempDir(), "snapshot.json")
	page := func() string {
		a.showSnapshots()
		w := httptest.NewRecorder()
		a.Exporter.Handler(telemetry.Probes{}, nil, a.Log).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		return w.Body.String()
	}
	if strings.Contains(page(), "hostcheck_snapshot") || m.log.Len() > 0 {
		t.Errorf("without a result: %s", m.log.String())
	}
	at := time.Now().UTC().Truncate(time.Second)
	result := snapshot.Result{At: at, Active: true, Began: at, Seconds: 2, Sinks: []snapshot.SinkResult{{Sink: "file:/x", Archive: "a", Taken: at, Verified: at, Bytes: 7, Seal: "transit", KeyID: "k1"}}}
	if err := snapshot.Leave(a.Snapshots, result); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"hostcheck_snapshot_size_bytes{sink=\"file:/x\"} 7", "key_id=\"k1\"", "hostcheck_snapshot_failed{sink=\"file:/x\"} 0", "hostcheck_snapshot_active 1"} {
		if got := page(); !strings.Contains(got, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	result.At, result.Sinks[0].Error = at.Add(time.Minute), "no space left on device"
	if err := snapshot.Leave(a.Snapshots, result); err != nil {
		t.Fatal(err)
	}
	if got := page(); !strings.Contains(got, "hostcheck_snapshot_failed{sink=\"file:/x\"} 1") {
		t.Error("a failure is not shown")
	}
}
