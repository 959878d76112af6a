package resource

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// settings is a configuration, flattened: values by dotted name. blocks counts those of each name.
type settings struct {
	byName map[string][]string
	blocks map[string]int
}

// parsedSettings is what vaultSettings gave, for the resources that ask the same file.
type parsedSettings struct {
	settings settings
	err      error
}

// vaultSettings flattens a configuration to dotted names in lower case: Vault's own parser does not
// tell upper from lower case. A block contributes its type and labels; a block without attributes is
// there with the value "". An attribute that holds an object is to Vault the same as a block.
func vaultSettings(content []byte, name string) (settings, error) {
	file, diags := hclsyntax.ParseConfig(content, path.Base(name), hcl.InitialPos)
	if diags.HasErrors() {
		return settings{}, fmt.Errorf("cannot parse: %s", diags.Error())
	}
	out := settings{map[string][]string{}, map[string]int{}}
	out.body(file.Body.(*hclsyntax.Body), "")
	return out, nil
}

func (s settings) add(name, value string) {
	name = strings.ToLower(name)
	s.byName[name] = append(s.byName[name], value)
}

func (s settings) body(body *hclsyntax.Body, prefix string) {
	for name, attr := range body.Attributes {
		v, diags := attr.Expr.Value(nil)
		if diags.HasErrors() {
			s.add(prefix+name, "not a constant") // Vault's configuration has no other kind
			continue
		}
		s.value(prefix+name, v)
	}
	for _, block := range body.Blocks {
		name := prefix + strings.Join(append([]string{block.Type}, block.Labels...), ".")
		if len(block.Body.Attributes)+len(block.Body.Blocks) == 0 {
			s.add(name, "")
		}
		s.blocks[strings.ToLower(name)]++
		s.body(block.Body, name+".")
	}
}

func (s settings) value(name string, v cty.Value) {
	if text, err := convert.Convert(v, cty.String); err == nil && !text.IsNull() && text.IsKnown() {
		s.add(name, text.AsString())
		return
	}
	if v.IsNull() || !v.IsKnown() || !v.CanIterateElements() || v.LengthInt() == 0 {
		s.add(name, "a "+v.Type().FriendlyName())
		return
	}
	if v.Type().IsObjectType() {
		s.blocks[strings.ToLower(name)]++
	}
	for elements := v.ElementIterator(); elements.Next(); {
		key, element := elements.Element()
		if v.Type().IsObjectType() {
			s.value(name+"."+key.AsString(), element)
			continue
		}
		s.value(name, element)
	}
}

// values gives what is set under a name, "*" in it standing for any one element.
func (s settings) values(name string) []string {
	if !strings.Contains(name, "*") {
		return s.byName[name]
	}
	var out []string
	for _, have := range slices.Sorted(maps.Keys(s.byName)) {
		if matchesName(name, have) && strings.Count(name, ".") == strings.Count(have, ".") {
			out = append(out, s.byName[have]...)
		}
	}
	return out
}

// below gives the first name that is set and is the given one, or lies in a block of that name.
func (s settings) below(name string) string {
	for _, have := range slices.Sorted(maps.Keys(s.byName)) {
		if matchesName(name, have) {
			return have
		}
	}
	return ""
}

// blocksOf counts the blocks that a setting can stand in; none for one at the top.
func (s settings) blocksOf(name string) int {
	parent := strings.LastIndexByte(name, '.')
	if parent < 0 {
		return 0
	}
	n := 0
	for have, count := range s.blocks {
		if matchesName(name[:parent], have) && strings.Count(name[:parent], ".") == strings.Count(have, ".") {
			n += count
		}
	}
	return n
}

// matchesName reports whether a name begins with the elements of a pattern.
func matchesName(pattern, name string) bool {
	for {
		p, morePattern, deeper := strings.Cut(pattern, ".")
		n, moreName, longer := strings.Cut(name, ".")
		if p != "*" && p != n {
			return false
		}
		if !deeper {
			return true
		}
		if !longer {
			return false
		}
		pattern, name = morePattern, moreName
	}
}
