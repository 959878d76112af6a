package node

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// locator finds where in the file a value stands, since the decoded structs no longer know.
type locator struct {
	file string
	body *hclsyntax.Body
}

// block gives the one block of a type; otherwise an empty body that locates the file's first
// line. A missing block and a second one have been reported already.
func (l locator) block(kind string) locator {
	found := locator{l.file, &hclsyntax.Body{SrcRange: l.top()}}
	count := 0
	for _, b := range l.body.Blocks {
		if b.Type == kind {
			found.body = b.Body
			count++
		}
	}
	if count > 1 {
		found.body = &hclsyntax.Body{SrcRange: l.top()}
	}
	return found
}

// labelled is a block with its labels.
type labelled struct {
	locator
	labels      []string
	labelRanges []hcl.Range
}

func (b labelled) label0() hcl.Range { return b.labelRanges[0] }

type located []labelled

// at gives the locator of a block; one that locates nothing when there are fewer.
func (ls located) at(i int) locator {
	if i < len(ls) {
		return ls[i].locator
	}
	return locator{body: &hclsyntax.Body{}}
}

// blocks gives all blocks of a type, in the order of the file.
func (l locator) blocks(kind string) located {
	var out located
	for _, b := range l.body.Blocks {
		if b.Type == kind {
			out = append(out, labelled{locator{l.file, b.Body}, b.Labels, b.LabelRanges})
		}
	}
	return out
}

func (l locator) count(kind string) int { return len(l.blocks(kind)) }

// start is where the first block of a type begins.
func (l locator) start(kind string) hcl.Range {
	for _, b := range l.body.Blocks {
		if b.Type == kind {
			return b.TypeRange
		}
	}
	return l.top()
}

func (l locator) label(kind string) hcl.Range {
	for _, b := range l.body.Blocks {
		if b.Type == kind && len(b.LabelRanges) > 0 {
			return b.LabelRanges[0]
		}
	}
	return l.top()
}

func (l locator) attribute(name string) hcl.Range {
	if a := l.body.Attributes[name]; a != nil {
		return a.Expr.Range()
	}
	return l.top()
}

func (l locator) element(name string, i int) hcl.Range {
	if a := l.body.Attributes[name]; a != nil {
		if list, ok := a.Expr.(*hclsyntax.TupleConsExpr); ok && i < len(list.Exprs) {
			return list.Exprs[i].Range()
		}
	}
	return l.attribute(name)
}

// has reports whether an attribute is there, of whatever type.
func (l locator) has(name string) bool { return l.body.Attributes[name] != nil }

// isString reports whether an attribute is there as a string, to be checked further: one that
// is missing, refused or of another type has been reported already.
func (l locator) isString(name string) bool {
	a := l.body.Attributes[name]
	if a == nil {
		return false
	}
	_, ok := a.Expr.(*hclsyntax.TemplateExpr)
	return ok
}

func (l locator) top() hcl.Range {
	return hcl.Range{Filename: l.file, Start: hcl.InitialPos, End: hcl.InitialPos}
}
