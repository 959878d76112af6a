package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/hardening"
	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/server"
)

// What the documentation shows works, and what it lists is whole.
func TestExamplesOfTheCatalogue(t *testing.T) {
	text, err := os.ReadFile("../../docs/catalogue.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(examples) != 2 {
		t.Fatalf("%d examples", len(examples))
	}
	catalogue, err := hardening.Load()
	if err != nil {
		t.Fatal(err)
	}
	if catalogue, err = catalogue.With(baseline.File{Name: "docs/catalogue.md", Content: []byte(examples[0][1])}); err != nil {
		t.Fatal(err)
	}
	b, err := catalogue.Compile(control.Profile{
		Server: "vault", Platform: "vm", Layout: baseline.Layouts[0], Distribution: baseline.Distributions(baseline.Layouts[0])[0],
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := b.Find("acme-banner-shown"); !ok {
		t.Error("the example of a site control is not in the baseline")
	}
	waivers, err := baseline.ParseWaivers("docs/catalogue.md", []byte(examples[1][1]))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Waive(waivers, control.Lapsed(time.Date(2027, 1, 31, 23, 59, 59, 0, time.UTC))); err != nil {
		t.Fatal(err)
	}
	for _, kind := range baseline.ParameterTypes {
		if !strings.Contains(string(text), "`"+kind.Name+"`") {
			t.Errorf("docs/catalogue.md does not say what type %s is", kind.Name)
		}
	}
	for word := range server.Products[0].Words() {
		if !strings.Contains(string(text), "`"+word+"`") {
			t.Errorf("docs/catalogue.md does not say ${%s}", word)
		}
	}
}
