package node

import (
	"reflect"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// maxDepth bounds the parser's recursion: it follows every open bracket on the stack.
const maxDepth = 16

// tooDeep finds brackets nested deeper than maxDepth before the parser does. Operators that
// the parser follows to their right end count as brackets that never close: no value of
// node.hcl has one.
func tooDeep(name string, src []byte) (hcl.Range, bool) {
	tokens, _ := hclsyntax.LexConfig(src, name, hcl.InitialPos)
	depth := 0
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen,
			hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl,
			hclsyntax.TokenMinus, hclsyntax.TokenBang, hclsyntax.TokenQuestion:
			if depth++; depth > maxDepth {
				return t.Range, true
			}
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenTemplateSeqEnd:
			depth--
		}
	}
	return hcl.Range{}, false
}

// refuseExpressions reports every value that is not a literal of the kind that its key has. node.hcl
// is data: nested for expressions could run for hours before anything is said, and the
// decoder would quietly turn a number or a boolean into a string. The offending values are
// replaced by an unknown one, so that decoding can go on and find the other mistakes.
func refuseExpressions(body *hclsyntax.Body, spec reflect.Type, wrong *Mistakes) []hcl.Range {
	var refused []hcl.Range
	for _, attr := range body.Attributes {
		want, ok := "a string nor a list of strings", isText(attr.Expr)
		hint := "write the value itself, in quotes; a go-sockaddr template is an ordinary string: \"https://{{ GetPrivateIP }}:8201\""
		switch field := attributeType(spec, attr.Name); {
		case field == nil:
		case field.Kind() == reflect.Pointer: // *bool
			_, ok = literalBool(attr.Expr)
			want, hint = "true nor false", "write true or false, without quotes"
		case field.Kind() == reflect.Map:
			ok = isTextObject(attr.Expr)
			want, hint = "empty nor an object of strings", "write { NAME = \"VALUE\" }"
		}
		if ok {
			continue
		}
		at := attr.Expr.Range()
		wrong.add(at, hint, "%s is neither %s", attr.Name, want)
		attr.Expr = &hclsyntax.LiteralValueExpr{Val: cty.DynamicVal, SrcRange: at}
		refused = append(refused, at)
	}
	for _, block := range body.Blocks {
		if inner := blockSpec(spec, block.Type); !takesTheRest(inner) {
			refused = append(refused, refuseExpressions(block.Body, inner, wrong)...)
		}
	}
	return refused
}

// attributeType gives the type of the field that decodes an attribute.
func attributeType(spec reflect.Type, name string) reflect.Type {
	for f := range spec.Fields() {
		if tagged, kind, _ := strings.Cut(f.Tag.Get("hcl"), ","); tagged == name && kind != "block" && kind != "label" {
			return f.Type
		}
	}
	return nil
}

func literalBool(e hclsyntax.Expression) (value, ok bool) {
	l, ok := e.(*hclsyntax.LiteralValueExpr)
	if !ok || l.Val.IsNull() || !l.Val.IsKnown() || l.Val.Type() != cty.Bool {
		return false, false
	}
	return l.Val.True(), true
}

// isTextObject reports whether an expression is an object with literal keys and strings in it.
func isTextObject(e hclsyntax.Expression) bool {
	object, ok := e.(*hclsyntax.ObjectConsExpr)
	if !ok {
		return false
	}
	for _, item := range object.Items {
		key, isKey := item.KeyExpr.(*hclsyntax.ObjectConsKeyExpr)
		if !isKey || key.ForceNonLiteral || hcl.ExprAsKeyword(key.Wrapped) == "" && !isTemplate(key.Wrapped) {
			return false
		}
		if !isTemplate(item.ValueExpr) {
			return false
		}
	}
	return true
}

func isTemplate(e hclsyntax.Expression) bool {
	_, ok := literal(e)
	return ok
}

func isText(e hclsyntax.Expression) bool {
	switch e := e.(type) {
	case *hclsyntax.TemplateExpr:
		return e.IsStringLiteral() || len(e.Parts) == 0
	case *hclsyntax.TupleConsExpr:
		for _, item := range e.Exprs {
			if !isText(item) {
				return false
			}
		}
		return true
	}
	return false
}

func insideAny(at *hcl.Range, ranges []hcl.Range) bool {
	if at == nil {
		return false
	}
	for _, r := range ranges {
		if r.Overlaps(*at) || r.Start == at.Start {
			return true
		}
	}
	return false
}
