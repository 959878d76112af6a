package telemetry_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
	e.SetListening("mounts", true)
	e.SetTLSExpiry("node", time.Now())
	e.SetJoin(telemetry.Join{State: telemetry.JoinReady})
	e.SetRetirement(telemetry.Retirement{State: "watching", States: []string{"watching"}})
	e.SetSnapshots(everySnapshot())
	e.SetRootTokens(&telemetry.RootTokens{Watched: time.Now(), Last: time.Now()})
	e.SetShipping(&telemetry.Shipping{Newest: time.Now(), Shipped: time.Now()})
	e.SetAuditLog(&telemetry.AuditLog{Size: 2, Available: 1, Written: time.Now()})
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
	for _, id := range []string{telemetry.MessageControl, telemetry.MessageVerdict, telemetry.MessageJoin, telemetry.MessageRoot, telemetry.MessageRetire} {
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
	if checked != 1 {
		t.Errorf("%d examples were checked", checked)
	}
}

// Each rule for Prometheus does what its own test wants, every alert has one, and what they ask for is on the page.
func TestPrometheusRules(t *testing.T) {
	const dir = "../../docs/monitoring"
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	rules, tests, text := read("strongroom.rules.yml"), read("strongroom.rules.test.yml"), documentation(t)
	for _, match := range regexp.MustCompile(`(?m)- (?:alert|record): (\S+)$`).FindAllStringSubmatch(rules, -1) {
		if !strings.Contains(tests, match[1]) {
			t.Errorf("%s has no test", match[1])
		}
		if strings.HasPrefix(match[1], "Strongroom") && !strings.Contains(text, "`"+match[1]+"`") {
			t.Errorf("%s is not documented", match[1])
		}
	}
	for _, match := range regexp.MustCompile(`[^:\w](hostcheck_[a-z_]+)`).FindAllStringSubmatch(rules, -1) {
		name := match[1]
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("%s is asked for, and is no documented family", name)
		}
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("needs Debian's package prometheus (make deps)")
	}
	test := exec.Command(promtool, "test", "rules", "strongroom.rules.test.yml")
	test.Dir = dir
	if out, err := test.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
