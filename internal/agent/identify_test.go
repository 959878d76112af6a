package agent

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/telemetry"
)

// configure may come after the agent, and may be repeated: who reads the report follows.
func TestIdentityComesLateAndChanges(t *testing.T) {
	m := newMachine(t)
	a := m.agent
	a.Identity = filepath.Join(t.TempDir(), "node.json")
	a.Exporter.Judged(verdict(control.StageBoot, check.Fail), false)
	handler := a.Exporter.Handler(telemetry.Probes{Alive: a.alive}, &a.access, a.Log)
	get := func(path, user, password string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		if user != "" {
			r.SetBasicAuth(user, password)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	writes := 0
	configure := func(id node.Identity) {
		content, err := json.Marshal(id)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(a.Identity, content, 0o600); err != nil {
			t.Fatal(err)
		}
		writes++ // a clock that is too coarse must not hide a change here
		when := time.Now().Add(time.Duration(writes) * time.Second)
		if err := os.Chtimes(a.Identity, when, when); err != nil {
			t.Fatal(err)
		}
		a.identify(context.Background())
	}

	a.identify(context.Background()) // configure has failed, or comes later
	if w := get("/report", "", ""); w.Code != http.StatusOK {
		t.Errorf("the reason stays on the node: %d", w.Code)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	configure(node.Identity{NodeID: "i-1", Telemetry: node.Telemetry{BasicAuth: map[string]string{"prometheus": string(hash)}}})
	if w := get("/report", "", ""); w.Code != http.StatusUnauthorized {
		t.Errorf("everybody is let in: %d", w.Code)
	}
	if w := get("/metrics", "prometheus", "right"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `node_id="i-1"`) {
		t.Errorf("%d %.200s", w.Code, w.Body)
	}
	configure(node.Identity{NodeID: "i-1", Telemetry: node.Telemetry{BasicAuth: map[string]string{"other": string(hash)}}})
	if w := get("/report", "prometheus", "right"); w.Code != http.StatusUnauthorized {
		t.Errorf("a user who is gone is let in: %d", w.Code)
	}
	if w := get("/report", "other", "right"); w.Code != http.StatusOK {
		t.Errorf("a new user is not let in: %d", w.Code)
	}
	// What cannot be used does not open the door, and is told without the value.
	configure(node.Identity{Telemetry: node.Telemetry{BasicAuth: map[string]string{"other": "a-password"}}})
	if w := get("/report", "other", "a-password"); w.Code != http.StatusUnauthorized {
		t.Errorf("a mistake lets somebody in: %d", w.Code)
	}
	if log := m.log.String(); !strings.Contains(log, `not a bcrypt hash`) || strings.Contains(log, "a-password") {
		t.Errorf("log:\n%s", log)
	}
}
