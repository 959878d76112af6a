package node

import (
	"reflect"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// refuseUnknown reports every key and block that the spec does not know, with those that it
// knows, and takes them out of the body: the decoder's own message would not say what is
// known.
func refuseUnknown(body *hclsyntax.Body, spec reflect.Type, wrong *Mistakes) {
	schema, _ := schemaOf(spec)
	var keys, blocks []string
	for _, a := range schema.Attributes {
		keys = append(keys, a.Name)
	}
	for _, b := range schema.Blocks {
		blocks = append(blocks, b.Type)
	}
	for name, attr := range body.Attributes {
		if !slices.Contains(keys, name) {
			wrong.add(attr.NameRange, knownNames(keys, blocks), "unknown key %q", name)
			delete(body.Attributes, name)
		}
	}
	body.Blocks = slices.DeleteFunc(body.Blocks, func(b *hclsyntax.Block) bool {
		if slices.Contains(blocks, b.Type) {
			if inner := blockSpec(spec, b.Type); !takesTheRest(inner) {
				refuseUnknown(b.Body, inner, wrong)
			}
			return false
		}
		wrong.add(b.TypeRange, knownNames(keys, blocks), "unknown block %q", b.Type)
		return true
	})
}

func knownNames(keys, blocks []string) string {
	slices.Sort(keys)
	slices.Sort(blocks)
	var parts []string
	if len(keys) > 0 {
		parts = append(parts, "known keys: "+strings.Join(keys, ", "))
	}
	if len(blocks) > 0 {
		parts = append(parts, "known blocks: "+strings.Join(blocks, ", "))
	}
	if len(parts) == 0 {
		return "nothing may stand in this block"
	}
	return strings.Join(parts, "; ")
}

// blockSpec gives the type of the field that decodes a block.
func blockSpec(spec reflect.Type, block string) reflect.Type {
	for f := range spec.Fields() {
		if name, kind, _ := strings.Cut(f.Tag.Get("hcl"), ","); name == block && kind == "block" {
			if f.Type.Kind() == reflect.Pointer || f.Type.Kind() == reflect.Slice {
				return f.Type.Elem()
			}
			return f.Type
		}
	}
	return reflect.TypeFor[struct{}]()
}

// takesTheRest reports whether the keys of a block depend on its label, and are judged by options.
func takesTheRest(spec reflect.Type) bool {
	for f := range spec.Fields() {
		if f.Tag.Get("hcl") == ",remain" {
			return true
		}
	}
	return false
}
