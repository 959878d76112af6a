package node

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// valueKind is what the value of an option is.
type valueKind int

const (
	kindText           valueKind = iota // a line of text
	kindYesNo                           // true or false
	kindURL                             // https, host and port
	kindEndpoint                        // https, host, perhaps port and path
	kindHostPort                        // host:port
	kindSecret                          // a reference to something that nobody may see
	kindMaterial                        // a reference to certificates
	kindSnapshotSecret                  // a reference to something that hostcheck-snapshot.service alone may see
)

// option is one key of a block whose keys depend on its label.
type option struct {
	name     string
	kind     valueKind
	required bool
	usual    string   // when it is left out
	oneOf    []string // all that it may be; nil: anything of its kind
	file     file     // for references: what is made of it
}

// values are the options that stand in a block, judged. References are apart from the rest.
type values struct {
	text       map[string]string
	references map[string]Reference
}

// options judges a block against the list of its options. What it says repeats no value, since a secret may stand anywhere.
func options(what string, block locator, known []option, wrong *Mistakes) values {
	out := values{map[string]string{}, map[string]Reference{}}
	names := make([]string, len(known))
	for i, o := range known {
		names[i] = o.name
		out.add(what, block, o, wrong)
	}
	for _, name := range slices.Sorted(maps.Keys(block.body.Attributes)) {
		if !slices.Contains(names, name) {
			wrong.add(block.body.Attributes[name].NameRange, knownNames(names, nil), "unknown key %q of %s", name, what)
		}
	}
	for _, b := range block.body.Blocks {
		wrong.add(b.TypeRange, knownNames(names, nil), "unknown block %q in %s", b.Type, what)
	}
	return out
}

func (v values) add(what string, block locator, o option, wrong *Mistakes) {
	attr := block.body.Attributes[o.name]
	if attr == nil {
		if o.required {
			wrong.add(block.body.SrcRange, "every "+what+" needs it", "%s: %s is missing", what, o.name)
		}
		if o.usual != "" {
			v.text[o.name] = o.usual
		}
		return
	}
	text, isText := literal(attr.Expr)
	if o.kind == kindYesNo {
		yes, isBool := literalBool(attr.Expr)
		if !isBool {
			wrong.add(attr.Expr.Range(), "write true or false", "%s is neither true nor false", o.name)
		}
		v.text[o.name] = fmt.Sprint(yes)
		return
	}
	if !isText {
		wrong.add(attr.Expr.Range(), "write the value itself, in quotes", "%s is not a string", o.name)
		return
	}
	problem, hint := o.judge(text)
	if problem != "" {
		wrong.add(attr.Expr.Range(), hint, "%s %s", o.name, problem)
	}
	switch o.kind {
	case kindSecret, kindMaterial:
		v.references[o.name], _, _ = ParseReference(text)
		return
	case kindSnapshotSecret:
		v.references[o.name], _, _ = parseReference(text, SnapshotCredentialNames)
		return
	}
	v.text[o.name] = text
}

func (o option) judge(text string) (problem, hint string) {
	switch o.kind {
	case kindSecret, kindSnapshotSecret:
		known := CredentialNames
		if o.kind == kindSnapshotSecret {
			known = SnapshotCredentialNames
		}
		_, problem, hint = parseReference(text, known)
		if problem != "" {
			hint += "; a secret has no place in node.hcl, so change it if it stood there"
		}
		return problem, hint
	case kindMaterial:
		_, problem, hint = ParseReference(text)
		return problem, hint
	case kindURL:
		if err := CheckURL(text); err != nil {
			return "is no address: " + withoutQuote(err), "for example \"https://vault.example.net:8200\""
		}
	case kindEndpoint:
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return "is not a https URL of a host", "for example \"https://kms.eu-central-1.amazonaws.com\""
		}
	case kindHostPort:
		if problem := hostPort(text); problem != "" {
			return "is no address: " + problem, "for example \"10.0.0.5:601\""
		}
	}
	switch {
	case text == "":
		return "is empty", "leave the key out, or give it a value"
	case len(text) > 1024 || strings.ContainsFunc(text, unprintable):
		return "is not one short line", "no control characters, at most 1024 bytes"
	case strings.Contains(text, "://") && o.kind == kindText:
		// Some servers would read env:// and file:// in place of the value.
		return "is a URL", "write the value itself"
	case o.oneOf != nil && !slices.Contains(o.oneOf, text):
		return "has a value that is not known", "one of " + strings.Join(o.oneOf, ", ")
	}
	return "", ""
}

// withoutQuote cuts an error before the value that it quotes.
func withoutQuote(err error) string {
	text, _, _ := strings.Cut(err.Error(), `"`)
	return strings.TrimSpace(text)
}

// literal gives the value of a string literal.
func literal(e hclsyntax.Expression) (string, bool) {
	t, ok := e.(*hclsyntax.TemplateExpr)
	if !ok || !isText(t) {
		return "", false
	}
	v, diags := t.Value(nil)
	if diags.HasErrors() || v.IsNull() || !v.IsKnown() {
		return "", false
	}
	return v.AsString(), true
}
