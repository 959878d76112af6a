// Package page writes HTML pages for people that hold all they need: no script, no picture and no font from
// elsewhere. A content security policy in the page forbids everything but its own style.
//
// The pages are not written with html/template: a program that can execute a template keeps every exported
// method of every type it holds, and the node's agent would be a fifth larger in memory for that.
// What takes its place is one rule: all text goes through Put, and Put escapes every argument.
package page

import (
	"bufio"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

//go:embed page.css
var style string

// Page is a page on its way to a browser.
type Page struct{ out *bufio.Writer }

// New begins a page: its head with the title and the house's style, and more of it for this kind of page. What is written
// next stands in the body.
func New(w io.Writer, title, more string) *Page {
	p := &Page{bufio.NewWriter(w)}
	sum := sha256.Sum256([]byte(style + more))
	p.Put(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>%s</title>
<style>`, base64.StdEncoding.EncodeToString(sum[:]), title)
	p.Raw(style)
	p.Raw(more)
	p.Raw("</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#main\">To the results</a>\n")
	return p
}

// Close ends the page and gives the first error of writing it.
func (p *Page) Close() error {
	p.Raw("</body>\n</html>\n")
	return p.out.Flush()
}

// Raw writes a part of the page that is the same in every one.
func (p *Page) Raw(part string) { p.out.WriteString(part) }

// Put writes a constant part of the page with its holes filled. A hole is %s or %d and stands in text or in
// a quoted attribute; what fills it is escaped for both, and for the eye: no control characters, and
// nothing that turns the direction of the text.
func (p *Page) Put(format string, args ...any) {
	for i, a := range args {
		if _, number := a.(int); !number {
			args[i] = html.EscapeString(Printable(fmt.Sprint(a)))
		}
	}
	fmt.Fprintf(p.out, format, args...)
}

// Section begins a section with its heading and, if there is one, a sentence about it.
func (p *Page) Section(id, title, lead string) {
	p.Put("<section aria-labelledby=\"%s\"><h2 id=\"%s\">%s</h2>\n", id, id, title)
	if lead != "" {
		p.Put("<p class=\"lead\">%s</p>\n", lead)
	}
}

// Badge shows an outcome or a verdict as a shape and a word.
func (p *Page) Badge(outcome any) {
	p.Put("<span class=\"badge %s\"><span aria-hidden=\"true\">%s</span> %s</span>", outcome, Symbol(outcome), Word(outcome))
}

// Bar shows the parts of a whole, each as wide as it is large.
func (p *Page) Bar(parts []Part) {
	total, at := 0, 0
	for _, part := range parts {
		total += part.N
	}
	percent := func(k int) string { return strconv.FormatFloat(100*float64(k)/float64(total), 'f', 2, 64) }
	p.Raw(`<svg class="bar" aria-hidden="true" focusable="false">`)
	for _, part := range parts {
		p.Put(`<rect class="%s" x="%s%%" width="%s%%" height="100%%"/>`, part.Outcome, percent(at), percent(part.N))
		at += part.N
	}
	p.Raw("</svg>\n<ul class=\"counts\">")
	for _, part := range parts {
		p.Raw("<li>")
		p.Badge(part.Outcome)
		p.Put(" %d</li>", part.N)
	}
}

// Part of a bar.
type Part struct {
	Outcome any
	N       int
}

// Word names an outcome or a verdict for people.
func Word(outcome any) string {
	s := fmt.Sprint(outcome)
	if s == "not-applicable" {
		return "Not applicable"
	}
	return strings.ToUpper(s[:min(1, len(s))]) + s[min(1, len(s)):]
}

// Symbol is a shape for an outcome, for who cannot tell the colours apart.
func Symbol(outcome any) string {
	switch fmt.Sprint(outcome) {
	case "pass":
		return "✓"
	case "fail":
		return "✕"
	case "pending":
		return "…"
	case "waived":
		return "◇"
	case "not-applicable":
		return "–"
	case "silent":
		return "○"
	}
	return "?"
}

// Plural says how many.
func Plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// Printable escapes what is not text on one line. The bytes come from a host that is judged, and must
// neither forge a line of a report nor speak to the terminal that shows it.
func Printable(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) && utf8.ValidString(s) {
		return s
	}
	quoted := strconv.Quote(s)
	return quoted[1 : len(quoted)-1]
}
