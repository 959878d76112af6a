package report_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/defenseunicorns/go-oscal/src/pkg/validation"
	oscal "github.com/defenseunicorns/go-oscal/src/types/oscal-1-1-3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/joshdk/go-junit"
	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/strongroom/strongroom/internal/report"
)

func TestGolden(t *testing.T) {
	for file, o := range map[string]struct {
		f report.Format
		o report.Options
	}{
		"fail.junit.xml":     {f: report.JUnit},
		"fail.sarif":         {f: report.SARIF},
		"fail-verbose.sarif": {f: report.SARIF, o: report.Options{Verbose: true}},
		"fail.oscal.json":    {f: report.OSCAL},
		"fail.html":          {f: report.HTML},
	} {
		t.Run(file, func(t *testing.T) { golden(t, file, write(t, report.New(result(), "1.2.3"), o.f, o.o)) })
	}
	for file, f := range map[string]report.Format{"pass.junit.xml": report.JUnit, "pass.sarif": report.SARIF, "pass.oscal.json": report.OSCAL, "pass.html": report.HTML} {
		t.Run(file, func(t *testing.T) { golden(t, file, write(t, report.New(good(), "1.2.3"), f, report.Options{})) })
	}
}

func TestJUnitConsumer(t *testing.T) {
	suites, err := junit.Ingest(write(t, report.New(result(), "1.2.3"), report.JUnit, report.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	var totals junit.Totals
	for _, s := range suites {
		for _, test := range s.Tests {
			got[test.Classname+"/"+test.Name] = string(test.Status) + ": " + test.Message
		}
		totals.Tests += s.Totals.Tests
		totals.Failed += s.Totals.Failed
		totals.Error += s.Totals.Error
		totals.Skipped += s.Totals.Skipped
		totals.Passed += s.Totals.Passed
		if s.Properties["image-version"] != "7" || s.Properties["parameter.memory_lock"] != "off" {
			t.Errorf("properties: %v", s.Properties)
		}
	}
	want := map[string]string{
		"memory/memory-swap-off":   "failed: No <swap> & nothing like it: /proc/swaps: want none, got /dev/vda5",
		"memory/memory-core-limit": "skipped: pending: judged from stage run on",
		"time/clock-disciplined":   "error: chrony runs: chrony.service: cannot tell: connection refused",
		"time/clock-source":        "passed: ",
		"time/clock-waived":        "skipped: waived until 2026-06-01 12:30 UTC (89 days left), by lab & co: the lab has no clock",
		"time/clock-battery":       "skipped: not-applicable: a virtual machine has none",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(junit.Totals{Tests: 6, Passed: 1, Skipped: 3, Failed: 1, Error: 1}, totals); diff != "" {
		t.Errorf("totals (-want +got):\n%s", diff)
	}
	// The numbers that a build server reads without counting.
	if head := string(write(t, report.New(result(), ""), report.JUnit, report.Options{})); !strings.Contains(head, `tests="6" failures="1" errors="1" skipped="3" time="0.012"`) {
		t.Errorf("no such counts:\n%.300s", head)
	}
}

// sarifSchema takes the standard's schema from the module that carries it. Its own validator would look at
// what it understood, and not at what was written.
func sarifSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), moduleFile(t, "github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif", "schema.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	literal := file.Scope.Lookup("schema").Decl.(*ast.ValueSpec).Values[0].(*ast.BasicLit).Value
	text, err := strconv.Unquote(literal)
	if err != nil {
		t.Fatal(err)
	}
	return compile(t, []byte(text))
}

// oscalSchema is NIST's, compiled once: the module's own validator compiles it for every file.
func oscalSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile(moduleFile(t, "github.com/defenseunicorns/go-oscal/src/internal/schemas", "oscal_complete_schema-1-1-3.json"))
	if err != nil {
		t.Fatal(err)
	}
	return compile(t, text)
}

func moduleFile(t testing.TB, pkg, name string) string {
	t.Helper()
	dir, err := exec.Command("go", "list", "-f", "{{.Dir}}", pkg).Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(dir)), name)
}

func compile(t testing.TB, text []byte) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", decode(t, text)); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSARIFValidates(t *testing.T) {
	s := sarifSchema(t)
	for _, all := range []bool{false, true} {
		content := write(t, report.New(result(), "1.2.3"), report.SARIF, report.Options{Verbose: all})
		if err := s.Validate(decode(t, content)); err != nil {
			t.Errorf("all %v: %v", all, err)
		}
		if err := s.Validate(decode(t, bytes.Replace(content, []byte(`"kind": "fail"`), []byte(`"kind": "failure"`), 1))); err == nil {
			t.Error("a mutated log is valid")
		}
	}
}

func TestSARIFConsumer(t *testing.T) {
	for all, want := range map[bool]map[string]string{
		false: {"memory-swap-off": "fail error", "clock-disciplined": "fail warning", "clock-waived": "fail error the lab has no clock"},
		true: {
			"memory-swap-off": "fail error", "clock-disciplined": "fail warning", "clock-waived": "fail error the lab has no clock",
			"memory-core-limit": "open none", "clock-source": "pass none", "clock-battery": "notApplicable none",
		},
	} {
		log, err := sarif.FromBytes(write(t, report.New(result(), "1.2.3"), report.SARIF, report.Options{Verbose: all}))
		if err != nil {
			t.Fatal(err)
		}
		run := log.Runs[0]
		if n := len(run.Tool.Driver.Rules); n != 6 {
			t.Errorf("%d rules, want all 6", n)
		}
		got := map[string]string{}
		for _, r := range run.Results {
			if rule := run.Tool.Driver.Rules[r.RuleIndex]; *rule.ID != *r.RuleID {
				t.Errorf("result of %s points at rule %s", *r.RuleID, *rule.ID)
			}
			if len(r.Locations) == 0 || r.Locations[0].PhysicalLocation.ArtifactLocation.URI == nil {
				t.Errorf("%s has no file", *r.RuleID)
			}
			text := r.Kind + " " + r.Level
			for _, s := range r.Suppressions {
				text += " " + *s.Justification
			}
			got[*r.RuleID] = text
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("all %v (-want +got):\n%s", all, diff)
		}
	}
}

func TestOSCALValidates(t *testing.T) {
	for _, r := range []*report.Document{report.New(result(), "1.2.3"), report.New(good(), "1.2.3")} {
		content := write(t, r, report.OSCAL, report.Options{})
		if err := validOSCAL(content); err != nil {
			t.Error(err)
		}
		if err := validOSCAL(bytes.Replace(content, []byte(`"import-ap"`), []byte(`"import"`), 1)); err == nil {
			t.Error("a mutated file is valid")
		}
	}
}

func validOSCAL(content []byte) error {
	v, err := validation.NewValidator(content)
	if err != nil {
		return err
	}
	return v.Validate()
}

// Every reference leads somewhere, and waivers are deviations with a deadline.
func TestOSCALConsumer(t *testing.T) {
	content := write(t, report.New(result(), "1.2.3"), report.OSCAL, report.Options{})
	var file oscal.OscalModels
	if err := json.Unmarshal(content, &file); err != nil {
		t.Fatal(err)
	}
	r := file.AssessmentResults.Results[0]
	known := map[string]bool{}
	for _, resource := range *file.AssessmentResults.BackMatter.Resources {
		known["#"+resource.UUID] = true
	}
	if !known[file.AssessmentResults.ImportAp.Href] {
		t.Errorf("import-ap leads to %s, which is not there", file.AssessmentResults.ImportAp.Href)
	}
	for _, o := range *r.Observations {
		known[o.UUID] = true
	}
	risks := map[string]string{}
	for _, k := range *r.Risks {
		deadline := ""
		if k.Deadline != nil {
			deadline = k.Deadline.UTC().Format("2006-01-02")
		}
		risks[k.UUID] = k.Status + " " + deadline
	}
	got := map[string]string{}
	for _, f := range *r.Findings {
		for _, o := range *f.RelatedObservations {
			if !known[o.ObservationUuid] {
				t.Errorf("%s refers to an observation that is not there", f.Target.TargetId)
			}
		}
		text := f.Target.Status.State
		if f.RelatedRisks != nil {
			for _, k := range *f.RelatedRisks {
				text += ", " + strings.TrimSpace(risks[k.RiskUuid])
			}
		}
		got[f.Target.TargetId] = text
	}
	want := map[string]string{
		"memory-swap-off": "not-satisfied, open", "clock-disciplined": "not-satisfied, open", "clock-source": "satisfied",
		"clock-waived": "not-satisfied, deviation-approved 2026-06-01",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	for _, id := range []string{"memory-core-limit: pending", "clock-battery: not-applicable: a virtual machine has none"} {
		if !strings.Contains(r.Remarks, id) {
			t.Errorf("the remarks lack %q:\n%s", id, r.Remarks)
		}
	}
	again := write(t, report.New(result(), "1.2.3"), report.OSCAL, report.Options{})
	if !bytes.Equal(content, again) {
		t.Error("the same report gives other bytes")
	}
	for _, id := range regexp.MustCompile(`"[a-z-]*uuid": "([^"]*)"`).FindAllSubmatch(content, -1) {
		if u, err := uuid.Parse(string(id[1])); err != nil || u.Version() != 5 || u.Variant() != uuid.RFC4122 {
			t.Errorf("%s is no UUID of version 5: %v", id[1], err)
		}
	}
}
