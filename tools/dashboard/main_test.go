package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/promtest"
	"github.com/strongroom/strongroom/internal/report"
	"github.com/strongroom/strongroom/internal/telemetry"
)

const file = "../../docs/monitoring/strongroom-dashboard.json"

// The file is what the program writes, and what Grafana's own types know, to the last field.
func TestDashboard(t *testing.T) {
	want, err := write()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text, want) {
		t.Error("docs/monitoring/strongroom-dashboard.json is not what tools/dashboard writes: make generate")
	}
	plugins.RegisterDefaultPlugins()
	var d dashboard.Dashboard
	if err := d.UnmarshalJSONStrict(text); err != nil {
		t.Fatal(err)
	}
	if err := d.Validate(); err != nil {
		t.Error(err)
	}
	if err := new(dashboard.Dashboard).UnmarshalJSONStrict(bytes.Replace(text, []byte(`"gridPos"`), []byte(`"gridPosition"`), 1)); err == nil {
		t.Error("a mutated dashboard is what Grafana's types know")
	}
	ids, covered := map[uint32]bool{}, map[[2]uint32]string{}
	for _, p := range d.Panels {
		if p.Panel == nil {
			ids[p.RowPanel.Id] = true
			continue
		}
		if p.Panel.Description == nil || ids[*p.Panel.Id] {
			t.Errorf("%s has no description or no number of its own", *p.Panel.Title)
		}
		ids[*p.Panel.Id] = true
		for x := p.Panel.GridPos.X; x < p.Panel.GridPos.X+p.Panel.GridPos.W; x++ {
			for y := p.Panel.GridPos.Y; y < p.Panel.GridPos.Y+p.Panel.GridPos.H; y++ {
				if other, taken := covered[[2]uint32{x, y}]; taken || x >= 24 {
					t.Fatalf("%s lies on %q or beside the grid", *p.Panel.Title, other)
				}
				covered[[2]uint32{x, y}] = *p.Panel.Title
			}
		}
	}
}

// queries gives the expressions of each panel, for the agents' job and all clusters.
func queries(t *testing.T) map[string]string {
	t.Helper()
	text, err := write()
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Type, Title string
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			found[p.Title+" ("+p.Type+")"] = strings.NewReplacer("$job", "strongroom", "$cluster", ".*").Replace(target.Expr)
		}
	}
	if len(found) < 15 {
		t.Fatalf("%d panels", len(found))
	}
	return found
}

// A real Prometheus scrapes a real agent's page, and each panel has something to show.
func TestPanelsHaveData(t *testing.T) {
	e := telemetry.NewExporter(telemetry.Build{Version: "v1", Revision: "c0ffee"})
	e.SetGate(true)
	e.SetNode(telemetry.Node{ID: "i-1", Cluster: "prod", Seal: "transit"})
	e.SetTLSExpiry("node", time.Now().Add(time.Hour))
	e.SetJoin(telemetry.Join{State: "ready", States: []string{"prove", "ready"}})
	e.SetSnapshots(telemetry.Snapshots{At: time.Now(), Active: true, Sinks: []telemetry.SnapshotsOf{{Sink: "file:/backup", Archive: "a", Taken: time.Now()}}})
	judge := func(o control.Outcome, v check.Verdict) {
		e.Judged(&report.Document{
			Schema: report.Schema, Baseline: "b00b5", Stage: control.StageMember, Verdict: v, Started: time.Now(), Seconds: .02,
			Host:     report.Host{ImageID: "strongroom", ImageVersion: "1.2", RootHash: "abc"},
			Controls: []report.Control{{ID: "memory-swap-off", Severity: control.Must, Outcome: o, Waiver: &report.Waiver{Expires: time.Now()}}},
		}, false)
	}
	judge(control.Pass, check.Pass)
	server := httptest.NewServer(e.Handler(telemetry.Probes{Alive: func() error { return nil }}, nil, slog.New(slog.DiscardHandler)))
	t.Cleanup(server.Close)
	vault := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "# TYPE vault_autopilot_failure_tolerance gauge\nvault_autopilot_failure_tolerance 1\n")
	}))
	t.Cleanup(vault.Close)
	address := func(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "http://") }
	prometheus := promtest.Start(t, fmt.Sprintf(`global: {scrape_interval: 1s}
scrape_configs:
  - {job_name: strongroom, static_configs: [{targets: [%q]}]}
  - {job_name: vault, static_configs: [{targets: [%q]}]}
`, address(server), address(vault)), filepath.Join(t.TempDir(), "data"))

	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	await(ctx, t, prometheus, "the agent's first page", `hostcheck_drift_total{check="memory-swap-off"} == 0`)
	judge(control.Fail, check.Fail)
	for panel, expression := range queries(t) {
		await(ctx, t, prometheus, panel, expression)
	}
}

// await asks until there is an answer. What Prometheus cannot parse is an error at once.
func await(ctx context.Context, t *testing.T, prometheus, what, expression string) {
	t.Helper()
	for {
		answer, err := http.Get(prometheus + "/api/v1/query?query=" + url.QueryEscape(expression))
		if err != nil {
			t.Fatal(err)
		}
		var out struct {
			Status, Error string
			Data          struct{ Result []any }
		}
		err = json.NewDecoder(answer.Body).Decode(&out)
		answer.Body.Close()
		switch {
		case err != nil || out.Status != "success":
			t.Errorf("%s: %s: %v %s", what, expression, err, out.Error)
			return
		case len(out.Data.Result) > 0:
			return
		}
		select {
		case <-ctx.Done():
			t.Errorf("%s shows nothing: %s", what, expression)
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}
