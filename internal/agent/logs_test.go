package agent

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/logs"
	"github.com/strongroom/strongroom/internal/telemetry"
)

// The agent shows how the audit log fares and what its watch has seen, and complains once about what it cannot see.
func TestLogsAreShown(t *testing.T) {
	m := newMachine(t)
	a := m.agent
	a.Server.Audit = filepath.Join(t.TempDir(), "audit")
	a.AuditSeen = filepath.Join(t.TempDir(), "seen.json")
	page := func() string {
		a.showLogs()
		w := httptest.NewRecorder()
		a.Exporter.Handler(telemetry.Probes{}, nil, a.Log).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		return w.Body.String()
	}
	for range 2 {
		if got := page(); strings.Contains(got, "hostcheck_audit") || strings.Contains(got, "hostcheck_root") || strings.Contains(got, "hostcheck_journal") {
			t.Error("what nobody knows is shown")
		}
	}
	if n := strings.Count(m.log.String(), "cannot see how much room the audit log has"); n != 1 {
		t.Errorf("%d complaints:\n%s", n, m.log.String())
	}
	if err := os.Mkdir(a.Server.Audit, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(a.Server.Audit, logs.AuditFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	seen := `{"at":"2026-11-23T01:02:03Z","uses":3,"made":1,"last_use":"2026-11-23T01:02:03Z","unreadable":2}`
	if err := os.WriteFile(a.AuditSeen, []byte(seen), 0o600); err != nil {
		t.Fatal(err)
	}
	got := page()
	for _, want := range []string{"hostcheck_audit_filesystem_avail_bytes ", "hostcheck_audit_file_written_timestamp_seconds ", "hostcheck_root_token_uses_total 3\n",
		"hostcheck_root_token_made_total 1\n", "hostcheck_audit_unreadable_lines_total 2\n", "hostcheck_root_token_last_timestamp_seconds ", "hostcheck_audit_watched_timestamp_seconds "} {
		if !strings.Contains(got, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if err := os.WriteFile(a.AuditSeen, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(page(), "hostcheck_root_token") || !strings.Contains(m.log.String(), "cannot read what the watch of the audit log has seen") {
		t.Errorf("half a file is shown:\n%s", m.log.String())
	}
}
