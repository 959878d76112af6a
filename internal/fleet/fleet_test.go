package fleet

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/report"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// document is a report of a node on which the named controls do not hold.
func document(node string, at time.Time, failing ...string) *report.Document {
	d := &report.Document{
		Schema: report.Schema, Baseline: "b00b5", Stage: control.StageMember, Verdict: check.Pass, Started: at,
		Host: report.Host{NodeID: node, ImageID: "strongroom", ImageVersion: "7", RootHash: "abc"},
	}
	for _, id := range []string{"memory-swap-off", "ssh-absent", "time-chrony"} {
		c := report.Control{ID: id, Title: "Title of " + id, Severity: control.Must, Outcome: control.Pass}
		if slices.Contains(failing, id) {
			c.Outcome, d.Verdict = control.Fail, check.Fail
		}
		d.Controls = append(d.Controls, c)
	}
	return d
}

func save(t *testing.T, dir, name string, d *report.Document) {
	t.Helper()
	var b bytes.Buffer
	if err := report.WriteJSON(&b, d); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Reports of one node over time are its present and its past.
func TestFolder(t *testing.T) {
	dir := t.TempDir()
	save(t, dir, "prod/a-1.json", document("a", noon.Add(-3*time.Hour)))
	save(t, dir, "prod/a-2.json", document("a", noon.Add(-2*time.Hour), "memory-swap-off"))
	save(t, dir, "prod/a-3.json", document("a", noon.Add(-1*time.Hour)))
	save(t, dir, "prod/b.json", document("b", noon, "ssh-absent"))
	save(t, dir, "test/a.json", document("a", noon))
	f, err := FromFolder(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	var nodes []string
	for _, n := range f.Nodes {
		nodes = append(nodes, n.Cluster+"/"+n.Name+" "+n.Verdict+" "+n.ImageVersion)
	}
	if diff := cmp.Diff([]string{"prod/b fail 7", "prod/a pass 7", "test/a pass 7"}, nodes); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	want := []Span{
		{Node: "a", Control: "memory-swap-off", Outcome: control.Fail, From: noon.Add(-2 * time.Hour), To: noon.Add(-1 * time.Hour)},
		{Node: "b", Control: "ssh-absent", Outcome: control.Fail, From: noon, To: noon},
	}
	if diff := cmp.Diff(want, f.Spans); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
	if !f.Since.Equal(noon.Add(-3*time.Hour)) || !f.At.Equal(noon) || len(f.Controls) != 3 {
		t.Errorf("since %s at %s, %d controls", f.Since, f.At, len(f.Controls))
	}
	f.Filter("prod")
	if len(f.Nodes) != 2 {
		t.Errorf("%d nodes of prod", len(f.Nodes))
	}
}

func TestFolderRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := FromFolder(dir, nil); err == nil || !strings.Contains(err.Error(), "no report") {
		t.Errorf("an empty folder: %v", err)
	}
	for name, text := range map[string]string{"x.json": "{}", "y.json": "no"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := FromFolder(dir, nil); err == nil || !strings.Contains(err.Error(), "x.json") || !strings.Contains(err.Error(), "y.json") {
		t.Errorf("want both mistakes: %v", err)
	}
	if _, err := FromFolder(filepath.Join(dir, "none"), nil); err == nil {
		t.Error("a folder that is not there")
	}
}

func TestNaturalOrder(t *testing.T) {
	names := []string{"n10", "n9", "n9-2", "n09", "", "m", "n"}
	slices.SortFunc(names, natural)
	if diff := cmp.Diff([]string{"", "m", "n", "n9", "n09", "n9-2", "n10"}, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// simulated is a fleet of many nodes, of which about one in twelve has something.
func simulated(size int) *Fleet {
	r := rand.New(rand.NewPCG(1, uint64(size)))
	f := &Fleet{Source: "Prometheus at prometheus.example.net:9090", Since: noon.Add(-24 * time.Hour), At: noon, Step: 6 * time.Minute}
	families := []string{"memory-swap-off", "memory-core-limit", "kernel-module-loading-disabled", "firewall-default-drop", "vault-process-limits", "time-synchronised", "ssh-absent",
		"vault-audit-devices", "tenancy-units-known", "storage-verity-root", "vault-tls-certificate-valid", "kernel-lockdown", "accounts-no-login", "vault-token-policy"}
	for i := range 196 {
		id := fmt.Sprintf("family-%d-control-%d", i/14, i%14)
		if i < len(families) {
			id = families[i]
		}
		f.Controls = append(f.Controls, Control{ID: id, Title: "What " + id + " wants to hold on each of the nodes", Severity: []control.Severity{control.Must, control.Should}[min(1, i%5/4)]})
	}
	per := max(5, size/20)
	for i := range size {
		n := Node{
			Name: fmt.Sprintf("i-%08x-%d", r.Uint32(), i%per+1), Cluster: fmt.Sprintf("prod-eu%d", i/per+1), Verdict: Pass, Stage: "member", Join: "ready",
			Image: "strongroom-vault", ImageVersion: "2026.3.1", RootHash: strings.Repeat("4f1a", 16), Baseline: strings.Repeat("9c02", 16),
			Judged: noon.Add(-time.Duration(r.IntN(15)) * time.Second), Outcomes: map[string]control.Outcome{},
		}
		if i%(per*4) < per && i%3 != 0 {
			n.ImageVersion, n.RootHash, n.Baseline = "2026.2.4", strings.Repeat("77d0", 16), strings.Repeat("e911", 16)
		}
		for _, c := range f.Controls {
			n.Outcomes[c.ID] = control.Pass
		}
		n.Outcomes["family-9-control-2"] = control.NotApplicable
		if n.ImageVersion == "2026.2.4" {
			n.Outcomes["vault-process-limits"] = control.Waived
		}
		span := func(id string, o control.Outcome, hours float64, lasts bool) {
			from := noon.Add(-time.Duration(hours * float64(time.Hour)))
			to := noon
			if !lasts {
				to = from.Add(time.Duration(r.IntN(110)+6) * time.Minute)
			}
			f.Spans = append(f.Spans, Span{n.Name, id, o, from, to})
			if lasts && id != "" {
				n.Outcomes[id] = o
			}
		}
		switch r.IntN(24) {
		case 0:
			n.Verdict = Fail
			span(families[r.IntN(len(families))], control.Fail, 1+5*r.Float64(), true)
		case 1:
			n.Verdict = Unknown
			span("time-synchronised", control.Unknown, 3.1, true)
		case 2:
			span("time-synchronised", control.Fail, 16, false)
		case 3:
			if i%2 == 0 {
				n.Verdict, n.Outcomes = Silent, map[string]control.Outcome{}
				span("", control.Unknown, 0.7, true)
			}
		}
		f.Nodes = append(f.Nodes, n)
	}
	f.Brief = []Brief{{f.Nodes[0].Name, "time-synchronised", 3}}
	f.sort()
	return f
}

func written(t *testing.T, f *Fleet) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteHTML(&b, f); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Every node and every failure is on the page, nothing comes from elsewhere, and five hundred nodes are no flood.
func TestPage(t *testing.T) {
	for _, size := range []int{1, 5, 500} {
		f := simulated(size)
		content := written(t, f)
		if dir := os.Getenv("FLEET_PAGES"); dir != "" {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("fleet-%d.html", size)), content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		text := string(content)
		for _, n := range f.Nodes {
			if !strings.Contains(text, n.Name) {
				t.Errorf("%d: %s is not on the page", size, n.Name)
			}
			for id, o := range n.Outcomes {
				if bad(o) && !strings.Contains(text, id) {
					t.Errorf("%d: %s is not on the page", size, id)
				}
			}
		}
		if problem := unsafe(content); problem != "" {
			t.Errorf("%d: %s", size, problem)
		}
		if len(content) > 1<<20 {
			t.Errorf("%d: the page has %d bytes", size, len(content))
		}
		if rows := strings.Count(text[strings.Index(text, `id="matrix"`)+1:strings.Index(text+`id="drift"`, `id="drift"`)], "<tr>"); size == 500 && rows > 60 {
			t.Errorf("%d rows in the matrix of 500 nodes: nodes that are alike do not share them", rows)
		}
		if !bytes.Equal(content, written(t, f)) {
			t.Errorf("%d: the same fleet gives another page", size)
		}
	}
}

// unsafe says what a browser would do that a page of ours must not ask for.
func unsafe(content []byte) string {
	if bytes.ContainsFunc(content, func(r rune) bool {
		return r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r))
	}) {
		return "control characters"
	}
	root, err := html.Parse(bytes.NewReader(content))
	if err != nil {
		return err.Error()
	}
	for n := range root.Descendants() {
		if slices.Contains([]string{"script", "img", "iframe", "object", "embed", "link", "form", "base"}, n.Data) && n.Type == html.ElementNode {
			return "element " + n.Data
		}
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "src" || a.Key == "href" && !strings.HasPrefix(a.Val, "#") {
				return "attribute " + a.Key + "=" + a.Val
			}
		}
	}
	return ""
}

func TestHostileNames(t *testing.T) {
	for _, s := range []string{`"><script>alert(1)</script>`, "</style></title><h1>x", "\x1b[2J\u202e", "%s%d", "\xff\xfe", "' onclick='alert(1)"} {
		f := simulated(5)
		for i := range f.Nodes {
			n := &f.Nodes[i]
			n.Name, n.Cluster, n.Verdict, n.Stage, n.Join, n.Image, n.ImageVersion, n.RootHash, n.Baseline = s, s, s, s, s, s, s, s, s
			n.Outcomes[s] = control.Fail
		}
		for i := range f.Spans {
			f.Spans[i].Node, f.Spans[i].Control = s, s
		}
		f.Controls = append(f.Controls, Control{ID: s, Title: s})
		f.Source = s
		if problem := unsafe(written(t, f)); problem != "" {
			t.Errorf("%q: %s", s, problem)
		}
	}
}

// A browser lays the page out: it is no wider than its window, and nothing in it is refused by its own policy.
func TestPageInBrowser(t *testing.T) {
	if _, err := exec.LookPath("chromium"); err != nil {
		t.Skip("needs Debian's package chromium")
	}
	file := filepath.Join(t.TempDir(), "fleet.html")
	if err := os.WriteFile(file, written(t, simulated(500)), 0o600); err != nil {
		t.Fatal(err)
	}
	picture := filepath.Join(t.TempDir(), "fleet.png")
	out, err := exec.CommandContext(t.Context(), "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--window-size=1280,1600",
		"--user-data-dir="+t.TempDir(), "--screenshot="+picture, "file://"+file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if bytes.Contains(out, []byte("Content Security Policy")) {
		t.Errorf("the page's own policy refuses a part of it:\n%s", out)
	}
	if info, err := os.Stat(picture); err != nil || info.Size() < 20_000 {
		t.Errorf("no picture: %v", err)
	}
}
