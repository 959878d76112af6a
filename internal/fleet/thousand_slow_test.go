//go:build slow

package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/promtest"
	"github.com/strongroom/strongroom/internal/report"
	"github.com/strongroom/strongroom/internal/telemetry"
)

// One Prometheus scrapes a thousand nodes with the whole catalogue, each within the interval of 15 s, and is asked for the
// fleet's page. The nodes are simulated: one server gives out a page of hostcheck's with each node's own names in it.
func TestThousandNodes(t *testing.T) {
	const size = 1000
	b := checktest.Compile(t, checktest.Profile())
	e := telemetry.NewExporter(telemetry.Build{Version: "v", Revision: "r"})
	e.SetGate(true)
	e.SetNode(telemetry.Node{ID: "node-NUMBER", Cluster: "prod", Seal: "transit"})
	e.SetTLSExpiry("node", time.Now().Add(time.Hour))
	e.SetJoin(telemetry.Join{State: telemetry.JoinReady})
	e.Judged(report.New(check.Run(t.Context(), b, "digest", checktest.Node(t, b), control.StageMember, check.Options{}), "1.2.3"), false)
	recorder := httptest.NewRecorder()
	e.Handler(telemetry.Probes{Alive: func() error { return nil }}, nil, slog.New(slog.DiscardHandler)).ServeHTTP(recorder, httptest.NewRequest("GET", "/metrics", nil))
	page := recorder.Body.Bytes()
	series := 0
	for line := range bytes.Lines(page) {
		if line[0] != '#' {
			series++
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = w.Write(bytes.ReplaceAll(page, []byte("NUMBER"), []byte(strings.TrimPrefix(r.URL.Path, "/"))))
	}))
	t.Cleanup(server.Close)
	address := strings.TrimPrefix(server.URL, "http://")
	var config strings.Builder
	config.WriteString("global: {scrape_interval: 15s, scrape_timeout: 10s}\nscrape_configs:\n  - job_name: strongroom\n    static_configs:\n")
	for i := range size {
		fmt.Fprintf(&config, "      - {targets: [%q], labels: {instance: 'node-%d:9810', __metrics_path__: /%d}}\n", address, i, i)
	}
	prometheus := promtest.Start(t, config.String(), filepath.Join(t.TempDir(), "data"))
	value := func(expression string) float64 {
		answer, err := http.Get(prometheus + "/api/v1/query?query=" + url.QueryEscape(expression))
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		var out struct {
			Data struct{ Result []struct{ Value [2]any } }
		}
		if err := json.NewDecoder(answer.Body).Decode(&out); err != nil || len(out.Data.Result) != 1 {
			return -1
		}
		v, _ := strconv.ParseFloat(fmt.Sprint(out.Data.Result[0].Value[1]), 64)
		return v
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	// Three rounds of every node, and none further from the one before than an interval and a third.
	for value(fmt.Sprintf("count(count_over_time(up[5m]) >= 3) == %d", size)) != size {
		select {
		case <-ctx.Done():
			t.Fatalf("%g nodes have been scraped three times", value("count(count_over_time(up[5m]) >= 3)"))
		case <-time.After(time.Second):
		}
	}
	if up := value("sum(up)"); up != size {
		t.Errorf("%g nodes are up", up)
	}
	longest := value("max(max_over_time(scrape_duration_seconds[5m]))")
	if longest > 10 {
		t.Errorf("a scrape took %g s", longest)
	}
	if age := value("max(time() - timestamp(up))"); age > 20 {
		t.Errorf("the oldest scrape is %g s old", age)
	}
	if samples := value("sum(scrape_samples_scraped)"); samples != float64(size*series) {
		t.Errorf("%g samples in a round, want %d", samples, size*series)
	}
	started := time.Now()
	f, err := Prometheus{URL: prometheus, Job: "strongroom", Window: time.Hour}.Ask(t.Context(), time.Now(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var html bytes.Buffer
	if err := WriteHTML(&html, f); err != nil {
		t.Fatal(err)
	}
	if len(f.Nodes) != size {
		t.Errorf("%d nodes on the page", len(f.Nodes))
	}
	t.Logf("%d nodes, %d series each, %d in all; a page of %d bytes; the longest scrape %.3f s; the fleet's page of %d bytes in %s", size, series, size*series, len(page), longest, html.Len(), time.Since(started).Round(time.Millisecond))
}
