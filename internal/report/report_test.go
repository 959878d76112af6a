package report_test

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/report"
)

var update = flag.Bool("update", false, "write the golden files again")

// result is a run in which every outcome and every kind of observation occurs.
func result() *check.Report {
	swap := control.Key{Kind: "swap", Name: "off"}
	clock := control.Key{Kind: "unit-state", Name: "chrony.service"}
	core := control.Key{Kind: "process-limits", Name: "vault.service"}
	return &check.Report{
		Baseline: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		Profile: control.Profile{
			Server: "vault", Platform: "vm", Layout: "sealed", Distribution: "debian/trixie", Parameters: map[string]string{"memory_lock": "off"},
		},
		Stage:       control.StageBoot,
		Verdict:     check.Fail,
		Identity:    check.Identity{MachineID: "m", NodeID: "n", ImageID: "i", ImageVersion: "7", RootHash: "h", Kernel: "6.12"},
		Started:     time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
		Duration:    12340 * time.Microsecond,
		GuideSource: control.Guide{Name: "Production hardening", Revision: "2026-01-02", URL: "https://example.org/guide"},
		Guide: []check.GuideResult{
			{Item: control.GuideItem{ID: "B4", Title: "Disable swap", Level: control.GuideBaseline, Asks: "No page of memory reaches a disk."},
				Outcome: control.Fail, Controls: []string{"memory-swap-off"}},
			{Item: control.GuideItem{ID: "B5", Title: "Disable core dumps", Level: control.GuideBaseline, Asks: "No process leaves its memory in a file."},
				Outcome: control.Pending, Controls: []string{"memory-core-limit"}},
			{Item: control.GuideItem{ID: "B9", Title: "Synchronise the clock", Level: control.GuideBaseline, Asks: "Leases and logs need the right time."},
				Outcome: control.Pass, Controls: []string{"clock-source"}},
			{Item: control.GuideItem{ID: "B24", Title: "Upgrade frequently", Level: control.GuideBaseline, Asks: "Known holes are closed."},
				Outcome: control.NotApplicable, Controls: []string{}, Reason: "how often somebody upgrades is not a fact of a host"},
			{Item: control.GuideItem{ID: "E2", Title: "Accept <nothing> less", Level: control.GuideExtended, Asks: "A waiver is no proof."},
				Outcome: control.Waived, Controls: []string{"clock-waived"}},
		},
		Controls: []check.ControlResult{
			{
				Control: control.Control{ID: "memory-swap-off", Family: "memory", Title: "No <swap> & nothing like it", Severity: control.Must,
					Stage: control.StageBoot,
					Guide: []string{"B4"}, Refs: []string{"CIS 1.1"}, Rationale: "A page on a disk outlives the seal.\n", Fix: "take the swap partition away"},
				Outcome: control.Fail,
				Observations: []control.Observation{
					{Resource: swap, Layer: control.OnDisk, Outcome: control.Pass, Source: "/etc/fstab", Want: "no swap", Got: "no swap"},
					{Resource: swap, Layer: control.Effective, Outcome: control.Fail, Source: "/proc/swaps", Want: "none", Got: "/dev/vda5"},
				},
			},
			{
				Control: control.Control{ID: "memory-core-limit", Family: "memory", Title: "Vault cannot dump core", Severity: control.Must,
					Stage: control.StageRun,
					Guide: []string{"B5"}, Fix: "not a hint"},
				Outcome: control.Pending,
				Observations: []control.Observation{
					{Resource: core, Layer: control.Effective, Outcome: control.Pending, Source: "stage run", Want: "judged at stage run"},
				},
			},
			{
				Control: control.Control{ID: "clock-disciplined", Family: "time", Title: "chrony runs", Severity: control.Should, Stage: control.StageBoot, Fix: "start chrony"},
				Waiver:  &control.Waiver{Control: "clock-disciplined", Reason: "the NTP servers move", Owner: "ops@example.org", Expires: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)},
				Outcome: control.Unknown,
				Observations: []control.Observation{
					{Resource: clock, Layer: control.Effective, Outcome: control.Unknown, Source: "chrony.service", Want: "active", Err: errors.New("connection refused")},
				},
			},
			{
				Control: control.Control{ID: "clock-source", Family: "time", Title: "Time comes from the hypervisor", Severity: control.Should, Stage: control.StageBoot, Guide: []string{"B9"}, Fix: "not a hint"},
				Outcome: control.Pass,
				Observations: []control.Observation{
					{Resource: clock, Layer: control.Effective, Outcome: control.Pass, Source: "/etc/chrony/chrony.conf", Want: "refclock", Got: "refclock"},
				},
			},
			{
				Control: control.Control{ID: "clock-waived", Family: "time", Title: "Waived on this node", Severity: control.Must, Stage: control.StageBoot, Guide: []string{"E2"}},
				Waiver:  &control.Waiver{Control: "clock-waived", Reason: "the lab has no clock", Owner: "lab & co", Expires: time.Date(2026, 6, 1, 12, 30, 0, 0, time.UTC)},
				Outcome: control.Waived,
				Observations: []control.Observation{
					{Resource: clock, Layer: control.Effective, Outcome: control.Waived, Source: "waiver", Want: "a", Got: "b"},
				},
			},
			{
				Control:      control.Control{ID: "clock-battery", Family: "time", Title: "The battery is good", Severity: control.Should, Stage: control.StageBoot},
				Outcome:      control.NotApplicable,
				Observations: []control.Observation{{Resource: clock, Layer: control.Effective, Outcome: control.NotApplicable, Source: "rtc", Want: "a battery", Got: "a virtual machine has none"}},
			},
		},
	}
}

// good is the same run on a node where nothing is wrong.
func good() *check.Report {
	r := result()
	r.Verdict = check.Pass
	r.Controls = slices.DeleteFunc(r.Controls, func(c check.ControlResult) bool {
		return c.Outcome == control.Fail || c.Outcome == control.Unknown || c.Outcome == control.Waived
	})
	r.Guide = slices.DeleteFunc(r.Guide, func(g check.GuideResult) bool { return g.Outcome == control.Fail || g.Outcome == control.Waived })
	return r
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got); if it is meant, run with -update:\n%s", file, diff)
	}
}

func TestText(t *testing.T) {
	for name, c := range map[string]struct {
		result  *check.Report
		options report.Options
	}{
		"fail.txt":         {result(), report.Options{}},
		"fail-verbose.txt": {result(), report.Options{Verbose: true}},
		"fail-brief.txt":   {result(), report.Options{Brief: true}},
		"fail-color.txt":   {result(), report.Options{Color: true}},
		"pass.txt":         {good(), report.Options{}},
		"pass-brief.txt":   {good(), report.Options{Brief: true}},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := report.WriteText(&b, report.New(c.result, "1.2.3"), c.options); err != nil {
				t.Fatal(err)
			}
			if colored := strings.Contains(b.String(), "\x1b["); colored != c.options.Color {
				t.Errorf("colour is %v, want %v", colored, c.options.Color)
			}
			golden(t, name, b.Bytes())
		})
	}
}

// A host that is judged cannot write the verdict itself, nor speak to the terminal.
func TestTextEscapesTheHostsBytes(t *testing.T) {
	r := result()
	o := &r.Controls[0].Observations[1]
	o.Source, o.Got = "/dev/\x1b[2J", "none\nverdict PASS at stage boot\x9b"
	r.Controls[2].Observations[0].Err = errors.New("x\r\nverdict PASS")
	var b bytes.Buffer
	if err := report.WriteText(&b, report.New(r, ""), report.Options{}); err != nil {
		t.Fatal(err)
	}
	if bytes.ContainsAny(b.Bytes(), "\x1b\r") || bytes.IndexByte(b.Bytes(), 0x9b) >= 0 || strings.Contains(b.String(), "\nverdict PASS") {
		t.Errorf("raw bytes of the host:\n%q", b.String())
	}
	if !strings.Contains(b.String(), `/dev/\x1b[2J: want none, got none\nverdict PASS at stage boot\x9b`) {
		t.Errorf("not escaped:\n%s", b.String())
	}
}

func TestJSONRoundTrip(t *testing.T) {
	want := report.New(result(), "1.2.3")
	var b bytes.Buffer
	if err := report.WriteJSON(&b, want); err != nil {
		t.Fatal(err)
	}
	golden(t, "fail.json", b.Bytes())
	if text := b.String(); !strings.Contains(text, "No <swap> & nothing like it") || strings.Contains(text, `\u00`) {
		t.Error("HTML escapes in the JSON")
	}
	if !strings.HasSuffix(b.String(), "}\n") {
		t.Error("no single final newline")
	}
	got, err := report.ReadJSON(&b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-written +read):\n%s", diff)
	}
}

// On a terminal the way out is for who needs one; a program may want it for everything.
func TestHintsOnlyWhereSomethingIsWrong(t *testing.T) {
	var b bytes.Buffer
	if err := report.WriteText(&b, report.New(result(), ""), report.Options{Verbose: true}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "not a hint") || strings.Count(b.String(), "hint: ") != 2 {
		t.Errorf("hints:\n%s", b.String())
	}
}

func TestReadJSONRefuses(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"no JSON":           {"verdict PASS", "cannot decode report"},
		"nothing":           {"", "cannot decode report"},
		"half a document":   {`{"schema": "strongroom.report/v1", "verdict":`, "cannot decode report"},
		"another schema":    {`{"schema": "strongroom.report/v2"}`, `schema "strongroom.report/v2" is not strongroom.report/v1`},
		"no schema":         {`{}`, `schema "" is not`},
		"no verdict":        {`{"schema": "strongroom.report/v1"}`, `unknown verdict ""`},
		"no known severity": {`{"schema": "strongroom.report/v1", "verdict": "pass", "controls": [{"id": "a-b", "severity": "may"}]}`, `control a-b: unknown severity "may"`},
		"no id":             {`{"schema": "strongroom.report/v1", "verdict": "pass", "controls": [{"id": "<b>", "severity": "must"}]}`, `control "<b>": not an id`},
		"no known layer": {`{"schema": "strongroom.report/v1", "verdict": "pass", "controls": [{"id": "a-b", "severity": "must", "observations": [{}]}]}`,
			`control a-b: unknown layer ""`},
		"no known level":   {`{"schema": "strongroom.report/v1", "verdict": "pass", "guide": [{"item": "B1", "level": "low"}]}`, `guide item "B1": unknown level "low"`},
		"no time of a run": {`{"schema": "strongroom.report/v1", "verdict": "pass", "seconds": 1e300}`, `seconds: 1e+300`},
		"no known outcome": {`{"schema": "strongroom.report/v1", "controls": [{"outcome": "fine"}]}`, `unknown outcome "fine"`},
	} {
		if d, err := report.ReadJSON(strings.NewReader(c.in)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: read %+v, error %v, want %s", name, d, err, c.want)
		}
	}
}

// A report without an observation is an empty list for programs, not null.
func TestJSONHasNoNull(t *testing.T) {
	empty := &check.Report{Verdict: check.Unknown, Controls: []check.ControlResult{{}}}
	var b bytes.Buffer
	if err := report.WriteJSON(&b, report.New(empty, "")); err != nil {
		t.Fatal(err)
	}
	if list := b.String(); strings.Contains(list, `"controls": null`) || strings.Contains(list, `"observations": null`) || strings.Contains(list, `"guide": null`) || strings.Contains(list, `"refs": null`) {
		t.Errorf("null for an empty list:\n%s", list)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestWriteErrorsAreReported(t *testing.T) {
	d := report.New(result(), "1.2.3")
	if err := report.WriteText(broken{}, d, report.Options{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("text: %v", err)
	}
	if err := report.WriteJSON(broken{}, d); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("JSON: %v", err)
	}
}

// A value of any length takes a few lines of a console, and says that there is more.
func TestTextCutsLongValues(t *testing.T) {
	r := result()
	r.Controls[0].Observations[1].Got = strings.Repeat("call ", 1000)
	var b bytes.Buffer
	if err := report.WriteText(&b, report.New(r, ""), report.Options{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "call … (4700 characters more in the JSON report)") {
		t.Errorf("not cut:\n%.900s", b.String())
	}
}
