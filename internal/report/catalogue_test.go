package report_test

import (
	"testing"

	"github.com/joshdk/go-junit"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/report"
)

// The whole catalogue, at every stage, in every format: each file is one that its standard allows.
func TestCatalogue(t *testing.T) {
	published, standard, nist := schema(t), sarifSchema(t), oscalSchema(t)
	for name, p := range map[string]control.Profile{"vault": checktest.Profile(), "openbao": checktest.OpenBaoProfile()} {
		b := checktest.Compile(t, p)
		node, tree := checktest.Node(t, b), checktest.Tree(t, b)
		for _, stage := range []control.Stage{control.StageImage, control.StageBoot, control.StageRun, control.StageMember} {
			t.Run(name+"/"+stage.String(), func(t *testing.T) {
				h := node
				if !stage.Runs() {
					h = tree
				}
				d := report.New(check.Run(t.Context(), b, "digest", h, stage, check.Options{}), "1.2.3")
				if len(d.Guide) != 36 {
					t.Errorf("%d items of the guide, want 36", len(d.Guide))
				}
				verbose := report.Options{Verbose: true}
				if err := published.Validate(decode(t, write(t, d, report.JSON, verbose))); err != nil {
					t.Errorf("JSON: %v", err)
				}
				if err := standard.Validate(decode(t, write(t, d, report.SARIF, verbose))); err != nil {
					t.Errorf("SARIF: %v", err)
				}
				if err := nist.Validate(decode(t, write(t, d, report.OSCAL, verbose))); err != nil {
					t.Errorf("OSCAL: %v", err)
				}
				suites, err := junit.Ingest(write(t, d, report.JUnit, verbose))
				if err != nil {
					t.Fatal(err)
				}
				tests := 0
				for _, s := range suites {
					tests += s.Totals.Tests
				}
				if tests != len(b.Controls) {
					t.Errorf("JUnit: %d tests for %d controls", tests, len(b.Controls))
				}
				for _, f := range []report.Format{report.HTML, report.Text} {
					if problem := unsafe(f, write(t, d, f, verbose)); problem != "" {
						t.Errorf("%s: %s", f, problem)
					}
				}
			})
		}
	}
}
