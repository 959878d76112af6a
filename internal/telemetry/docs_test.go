package telemetry_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/report"
	"github.com/strongroom/strongroom/internal/telemetry"
)

func documentation(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/telemetry.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Every family on the page is in the documentation, and every one that is documented is on the page.
func TestMetricsAreDocumented(t *testing.T) {
	e := verifiedNode()
	e.SetNode(telemetry.Node{ID: "i-1"})
	e.SetTLSExpiry("node", time.Now())
	e.SetJoin(telemetry.Join{State: telemetry.JoinReady})
	e.SetSnapshots(everySnapshot())
	e.Judged(document(func(d *report.Document) {
		d.Controls[2].Outcome = control.Waived
		d.Controls[2].Waiver = &report.Waiver{Expires: time.Now()}
	}), false)
	page, text := get(e.Handler(says(anActive), nil, quiet), "GET", "/metrics").Body.String(), documentation(t)
	shown := map[string]bool{}
	for line := range strings.Lines(page) {
		if name, ok := strings.CutPrefix(line, "# TYPE hostcheck_"); ok {
			name = "hostcheck_" + strings.Fields(name)[0]
			shown[name] = true
			if !strings.Contains(text, "| `"+name+"` |") {
				t.Errorf("%s is not documented", name)
			}
		}
	}
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(line, "| `hostcheck_"); ok {
			if name = "hostcheck_" + name[:strings.Index(name, "`")]; !shown[name] {
				t.Errorf("%s is documented and not on the page", name)
			}
		}
	}
	for _, id := range []string{telemetry.MessageControl, telemetry.MessageVerdict, telemetry.MessageJoin} {
		if !strings.Contains(text, id) {
			t.Errorf("message id %s is not documented", id)
		}
	}
}

// The examples for Prometheus are ones that Prometheus takes.
func TestPrometheusExamples(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("needs Debian's package prometheus (make deps)")
	}
	checked := 0
	for i, block := range strings.Split(documentation(t), "```") {
		block, ok := strings.CutPrefix(block, "yaml\n")
		if i%2 == 0 || !ok {
			continue
		}
		args := []string{"check", "rules"}
		if strings.HasPrefix(block, "scrape_configs:") {
			args = []string{"check", "config", "--syntax-only"}
		}
		file := filepath.Join(t.TempDir(), "example.yml")
		if err := os.WriteFile(file, []byte(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(promtool, append(args, file)...).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		checked++
	}
	if checked != 2 {
		t.Errorf("%d examples were checked", checked)
	}
}
