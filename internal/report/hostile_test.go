package report_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/strongroom/strongroom/internal/report"
)

var everyFormat = []report.Format{report.Text, report.JSON, report.JUnit, report.SARIF, report.OSCAL, report.HTML}

// hostile strings, each for what it does to one of the formats.
var hostile = []string{
	`"><script>alert(1)</script><img src=x onerror=alert(1)>`,
	`' onclick='alert(1)`,
	"</style></title></code></td></table><h1>Pass</h1>",
	"\x1b[2J\x1b[1;32mverdict PASS\x1b[0m\r\nverdict PASS at stage boot\n",
	"\x00\x01\x08\x0b\x1f\x7f\u0085\ufffe\uffff",
	"\u202e\u2066ssap\u2069\u200b",
	"\xff\xfe\xc3(",
	"]]><testsuite/><!-- & &lt; &#0;",
	"[click](javascript:alert(1)) `code` **bold** <b>",
	"   ", "", "%s%d%!(NOVERB)", "{{.}}", strings.Repeat("x", 5000),
}

// poison puts a string into every place of a document that a host or a foreign file can fill. What ReadJSON
// holds to a set of words stays what it was.
func poison(v reflect.Value, s string) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
	case v.Kind() == reflect.String:
		switch v.Interface().(type) {
		case string:
			v.SetString(s)
		}
	case v.Kind() == reflect.Pointer && !v.IsNil():
		poison(v.Elem(), s)
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			poison(v.Index(i), s)
		}
	case v.Kind() == reflect.Map && v.Type() == reflect.TypeFor[map[string]string]():
		v.Set(reflect.ValueOf(map[string]string{s: s}))
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; name != "ID" && name != "Schema" {
				poison(v.Field(i), s)
			}
		}
	}
}

func poisoned(s string) *report.Document {
	d := report.New(result(), "1.2.3")
	poison(reflect.ValueOf(d).Elem(), s)
	return d
}

func TestHostileStrings(t *testing.T) {
	published, standard, nist := schema(t), sarifSchema(t), oscalSchema(t)
	benign := elements(t, write(t, poisoned("benign"), report.HTML, report.Options{}))
	for _, s := range hostile {
		t.Run(fmt.Sprintf("%.20q", s), func(t *testing.T) {
			d := poisoned(s)
			for _, f := range everyFormat {
				content := write(t, d, f, report.Options{Verbose: true})
				if problem := unsafe(f, content); problem != "" {
					t.Errorf("%s: %s:\n%.2000q", f, problem, content)
				}
				var err error
				switch f {
				case report.JSON:
					err = published.Validate(decode(t, content))
				case report.SARIF:
					err = standard.Validate(decode(t, content))
				case report.OSCAL:
					err = nist.Validate(decode(t, content))
				case report.HTML:
					if strings.TrimSpace(s) == "" {
						continue // notes that would be empty are left out
					}
					if diff := cmp.Diff(benign, elements(t, content)); diff != "" {
						t.Errorf("the page has another structure (-benign +got):\n%s", diff)
					}
				}
				if err != nil {
					t.Errorf("%s: %v", f, err)
				}
			}
		})
	}
}

// unsafe says what a reader of the format would trip over.
func unsafe(f report.Format, content []byte) string {
	switch f {
	case report.JSON: // carries the host's strings as they are, escaped by the encoder
		return ""
	case report.JUnit:
		for d := xml.NewDecoder(bytes.NewReader(content)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return err.Error()
			}
		}
	}
	if bytes.ContainsFunc(content, func(r rune) bool {
		return r != '\n' && r != '\t' && (unicode.IsControl(r) || f != report.SARIF && unicode.Is(unicode.Cf, r))
	}) {
		return "control characters"
	}
	if f == report.Text && strings.Count("\n"+string(content), "\nverdict ") != 1 {
		return "a forged verdict"
	}
	if f == report.HTML {
		for _, e := range parse(content) {
			if slices.Contains([]string{"script", "img", "iframe", "object", "embed", "link", "form", "base"}, e.Data) {
				return "element " + e.Data
			}
			for _, a := range e.Attr {
				if strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "src" || a.Key == "href" && !strings.HasPrefix(a.Val, "#") {
					return "attribute " + a.Key + "=" + a.Val
				}
			}
		}
	}
	return ""
}

func parse(content []byte) []*html.Node {
	root, err := html.Parse(bytes.NewReader(content))
	if err != nil {
		return nil // a page of this size does not fail
	}
	var list []*html.Node
	for n := range root.Descendants() {
		if n.Type == html.ElementNode {
			list = append(list, n)
		}
	}
	return list
}

// elements gives the page's structure: every element with the names of its attributes.
func elements(t *testing.T, content []byte) []string {
	t.Helper()
	var list []string
	for _, n := range parse(content) {
		s := n.Data
		for _, a := range n.Attr {
			s += " " + a.Key
		}
		list = append(list, s)
	}
	if len(list) < 100 {
		t.Fatalf("only %d elements", len(list))
	}
	return list
}

// The page must work where nothing but it may be loaded.
func TestHTMLStandsAlone(t *testing.T) {
	content := string(write(t, report.New(result(), "1.2.3"), report.HTML, report.Options{}))
	for _, want := range []string{`default-src 'none'; style-src 'sha256-`, `<html lang="en">`, `<title>Fail: n at stage boot</title>`, `href="#control-memory-swap-off"`, `id="control-memory-swap-off"`, `id="guide-B4"`, "@media print"} {
		if !strings.Contains(content, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if i, j := strings.Index(content, `id="control-memory-swap-off"`), strings.Index(content, `id="control-clock-source"`); i > j {
		t.Error("what passes stands before what fails")
	}
	targets, links := map[string]bool{}, map[string]bool{}
	for _, n := range parse([]byte(content)) {
		for _, a := range n.Attr {
			switch a.Key {
			case "id":
				if targets[a.Val] {
					t.Errorf("id %s occurs twice", a.Val)
				}
				targets[a.Val] = true
			case "href":
				links[strings.TrimPrefix(a.Val, "#")] = true
			}
		}
	}
	for link := range links {
		if !targets[link] {
			t.Errorf("the link #%s leads nowhere", link)
		}
	}
	if strings.Contains(content, "://") {
		t.Error("the page names another place")
	}
}

// FuzzReadJSON: whatever is taken for a report is written safely in every format.
func FuzzReadJSON(f *testing.F) {
	for _, name := range []string{"fail.json"} {
		content, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	for _, s := range hostile {
		f.Add(write(f, poisoned(s), report.JSON, report.Options{}))
	}
	f.Add([]byte(`{"schema": "strongroom.report/v1", "verdict": "pass"}`))
	published, standard, nist := schema(f), sarifSchema(f), oscalSchema(f)
	f.Fuzz(func(t *testing.T, content []byte) {
		d, err := report.ReadJSON(bytes.NewReader(content))
		if err != nil {
			return
		}
		for _, format := range everyFormat {
			var b bytes.Buffer
			if err := report.Write(&b, d, format, report.Options{Verbose: true}); err != nil {
				if format == report.OSCAL && strings.Contains(err.Error(), "which OSCAL cannot state") {
					continue
				}
				t.Fatalf("%s: %v", format, err)
			}
			if problem := unsafe(format, b.Bytes()); problem != "" {
				t.Fatalf("%s: %s", format, problem)
			}
			switch format {
			case report.JSON:
				err = published.Validate(decode(t, b.Bytes()))
				if again, rerr := report.ReadJSON(&b); rerr != nil || !cmp.Equal(d, again) {
					t.Fatalf("read again: %v\n%s", rerr, cmp.Diff(d, again))
				}
			case report.SARIF:
				err = standard.Validate(decode(t, b.Bytes()))
			case report.OSCAL:
				err = nist.Validate(decode(t, b.Bytes()))
			}
			if err != nil {
				t.Fatalf("%s: %v", format, err)
			}
		}
	})
}
