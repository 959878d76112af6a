package fleet

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/promtest"
)

// sample is a series over time: its value at each minute before noon, the oldest first; NaN is written where it is not there.
type sample struct {
	series string
	value  func(minute int) (float64, bool)
}

// startPrometheus gives a real Prometheus that knows these series, of the hundred minutes before noon, and its URL.
func startPrometheus(t *testing.T, samples []sample) string {
	t.Helper()
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Skip("needs Debian's package prometheus (make deps)")
	}
	dir := t.TempDir()
	var text bytes.Buffer
	family := ""
	for _, s := range samples {
		if name, _, _ := strings.Cut(s.series, "{"); name != family {
			family = name
			kind := "gauge"
			if strings.HasSuffix(name, "_total") {
				kind = "counter"
			}
			fmt.Fprintf(&text, "# TYPE %s %s\n", strings.TrimSuffix(name, "_total"), kind)
		}
		for minute := range 101 {
			if v, there := s.value(minute); there {
				fmt.Fprintf(&text, "%s %g %d\n", s.series, v, noon.Add(time.Duration(minute-100)*time.Minute).Unix())
			}
		}
	}
	text.WriteString("# EOF\n")
	history, data := filepath.Join(dir, "history"), filepath.Join(dir, "data")
	if err := os.WriteFile(history, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("promtool", "tsdb", "create-blocks-from", "openmetrics", history, data).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return promtest.Start(t, "scrape_configs: []\n", data)
}

func always(v float64) func(int) (float64, bool) {
	return func(int) (float64, bool) { return v, true }
}

// between is a series that is there from one minute to another, and has another value in between.
func between(from, to int, in float64) func(int) (float64, bool) {
	return func(m int) (float64, bool) { return in, m >= from && m <= to }
}

// A real Prometheus has the history of four nodes: one passes, one fails since a while, one was down, one is silent now.
func TestPrometheus(t *testing.T) {
	var samples []sample
	for i, n := range []struct{ instance, id, version string }{{"n1:9810", "a", "7"}, {"n2:9810", "b", "7"}, {"n3:9810", "c", "8"}, {"n4:9810", "d", "8"}} {
		labels := fmt.Sprintf(`job="strongroom",instance=%q`, n.instance)
		add := func(name, more string, value func(int) (float64, bool)) {
			if more != "" {
				more = "," + more
			}
			samples = append(samples, sample{fmt.Sprintf("%s{%s%s}", name, labels, more), value})
		}
		there := always
		if n.id == "d" { // the last that it said was at minute 60
			there = func(v float64) func(int) (float64, bool) { return between(0, 60, v) }
		}
		add("up", "", func(m int) (float64, bool) {
			down := n.id == "c" && m >= 30 && m < 50 || n.id == "d" && m > 60
			return map[bool]float64{true: 0, false: 1}[down], true
		})
		add("hostcheck_node_info", fmt.Sprintf(`node_id=%q,cluster="prod"`, n.id), there(1))
		add("hostcheck_image_info", fmt.Sprintf(`name="strongroom",version=%q,root_hash="h%s"`, n.version, n.version), there(1))
		add("hostcheck_baseline_info", `digest="b00b5"`, there(1))
		add("hostcheck_gate_open", "", there(1))
		add("hostcheck_last_run_timestamp_seconds", "", there(float64(noon.Unix())))
		add("hostcheck_stage", `hostcheck_stage="member"`, there(1))
		add("hostcheck_join_state", `hostcheck_join_state="ready"`, there(1))
		add("hostcheck_check_status", `check="ssh-absent",hostcheck_check_status="pass"`, there(1))
		if i == 1 { // fails from minute 70 on
			add("hostcheck_verdict", `hostcheck_verdict="pass"`, func(m int) (float64, bool) { return map[bool]float64{true: 1}[m < 70], true })
			add("hostcheck_verdict", `hostcheck_verdict="fail"`, func(m int) (float64, bool) { return map[bool]float64{true: 1}[m >= 70], true })
			add("hostcheck_check_status", `check="memory-swap-off",hostcheck_check_status="pass"`, between(0, 69, 1))
			add("hostcheck_check_status", `check="memory-swap-off",hostcheck_check_status="fail"`, between(70, 100, 1))
		} else {
			add("hostcheck_verdict", `hostcheck_verdict="pass"`, there(1))
			add("hostcheck_check_status", `check="memory-swap-off",hostcheck_check_status="pass"`, there(1))
		}
		if i == 0 { // between two looks
			add("hostcheck_drift_total", `check="ssh-absent"`, func(m int) (float64, bool) { return map[bool]float64{true: 1}[m >= 40], true })
		}
	}
	// OpenMetrics wants the series of a family together.
	byFamily := map[string][]sample{}
	var order []string
	for _, s := range samples {
		name, _, _ := strings.Cut(s.series, "{")
		if byFamily[name] == nil {
			order = append(order, name)
		}
		byFamily[name] = append(byFamily[name], s)
	}
	samples = nil
	for _, name := range order {
		samples = append(samples, byFamily[name]...)
	}
	url := startPrometheus(t, samples)
	f, err := Prometheus{URL: url, Job: "strongroom", Window: 100 * time.Minute}.Ask(t.Context(), noon, map[string]Control{"ssh-absent": {"ssh-absent", "No SSH", control.Must}})
	if err != nil {
		t.Fatal(err)
	}
	var nodes []string
	for _, n := range f.Nodes {
		nodes = append(nodes, fmt.Sprint(n.Cluster, "/", n.Name, " ", n.Verdict, " ", n.ImageVersion, " ", n.RootHash, " ", n.Baseline, " ", n.Stage, " ", n.Join, " ", n.Outcomes))
	}
	want := []string{
		"prod/b fail 7 h7 b00b5 member ready map[memory-swap-off:fail]",
		"prod/d silent 8 h8 b00b5   map[]",
		"prod/a pass 7 h7 b00b5 member ready map[memory-swap-off:pass]",
		"prod/c pass 8 h8 b00b5 member ready map[memory-swap-off:pass]",
	}
	if diff := cmp.Diff(want, nodes); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	minute := func(m int) time.Time { return noon.Add(time.Duration(m-100) * time.Minute) }
	near := func(got time.Time, m int) bool { return got.Sub(minute(m)).Abs() <= 6*time.Minute } // Prometheus looks back for five
	spans := map[string]Span{}
	for _, s := range f.Spans {
		spans[s.Node+" "+s.Control] = s
	}
	if s := spans["b memory-swap-off"]; len(f.Spans) != 3 || s.Outcome != control.Fail || !near(s.From, 70) || !s.To.Equal(noon) {
		t.Errorf("b: %+v of %+v", s, f.Spans)
	}
	if s := spans["c "]; !near(s.From, 30) || !near(s.To, 50) {
		t.Errorf("c: %+v", s)
	}
	if s := spans["d "]; !near(s.From, 60) || !s.To.Equal(noon) {
		t.Errorf("d: %+v", s)
	}
	if diff := cmp.Diff([]Brief{{"a", "ssh-absent", 1}}, f.Brief); diff != "" {
		t.Errorf("brief (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Control{{ID: "memory-swap-off"}, {"ssh-absent", "No SSH", control.Must}}, f.Controls); diff != "" {
		t.Errorf("controls (-want +got):\n%s", diff)
	}
	for _, bad := range []Prometheus{{URL: url, Job: "nodes", Window: time.Hour}, {URL: "nowhere", Window: time.Hour}, {URL: "http://u:p@" + strings.TrimPrefix(url, "http://"), Window: time.Hour}} {
		if _, err := bad.Ask(t.Context(), noon, nil); err == nil || strings.Contains(err.Error(), "u:p") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
