package logs_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/logs"
)

// A journal that takes nothing, because journald hangs, holds a request up for a moment and no longer: the file has it.
func TestBlockedJournal(t *testing.T) {
	v := startVault(t, false)
	v.journal.mu.Lock() // nobody reads any more
	defer v.journal.mu.Unlock()
	// Half of these fit into the socket.
	const requests = 20
	for i := range requests {
		if _, err := v.try("PUT", fmt.Sprintf("kv/blocked/%d", i), map[string]any{"value": "x"}); err != nil {
			t.Fatalf("a blocked journal stops the server: %v", err)
		}
	}
	content, err := os.ReadFile(v.audit(logs.AuditFile))
	if err != nil {
		t.Fatal(err)
	}
	for i := range requests {
		if !strings.Contains(string(content), fmt.Sprintf(`"kv/blocked/%d"`, i)) {
			t.Errorf("request %d is in no audit log", i)
		}
	}
	if v.figure("vault_audit_sink_failure") == 0 || v.figure("vault_audit_log_request_failure") != 0 {
		t.Errorf("sink_failure %v, log_request_failure %v", v.figure("vault_audit_sink_failure"), v.figure("vault_audit_log_request_failure"))
	}
}
