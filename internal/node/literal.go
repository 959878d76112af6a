package node

import (
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

// refuseExpressions reports every value that is not a string or a list of strings. node.hcl
// is data: nested for expressions could run for hours before anything is said, and the
// decoder would quietly turn a number or a boolean into a string. The offending values are
// replaced by an unknown one, so that decoding can go on and find the other mistakes.
func refuseExpressions(body *hclsyntax.Body, wrong *Mistakes) []hcl.Range {
	var refused []hcl.Range
	for _, attr := range body.Attributes {
		if isText(attr.Expr) {
			continue
		}
		at := attr.Expr.Range()
		wrong.add(at, "write the value itself, in quotes; a go-sockaddr template is an ordinary string: \"https://{{ GetPrivateIP }}:8201\"",
			"%s is neither a string nor a list of strings", attr.Name)
		attr.Expr = &hclsyntax.LiteralValueExpr{Val: cty.DynamicVal, SrcRange: at}
		refused = append(refused, at)
	}
	for _, block := range body.Blocks {
		refused = append(refused, refuseExpressions(block.Body, wrong)...)
	}
	return refused
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
