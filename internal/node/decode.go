package node

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// schemaOf derives what a body may hold from the tags of a spec, which are those of hcl's own gohcl: NAME, "NAME,optional",
// "NAME,block", "NAME,label" and ",remain". rest says that other keys may stand there too. gohcl itself would link hclwrite
// and go-cmp into every verb of hostcheck: docs/decisions/small-agent.md.
func schemaOf(spec reflect.Type) (schema *hcl.BodySchema, rest bool) {
	schema = &hcl.BodySchema{}
	for f := range spec.Fields() {
		name, kind, _ := strings.Cut(f.Tag.Get("hcl"), ",")
		switch kind {
		case "", "optional":
			required := kind == "" && f.Type.Kind() != reflect.Pointer
			schema.Attributes = append(schema.Attributes, hcl.AttributeSchema{Name: name, Required: required})
		case "block":
			header := hcl.BlockHeaderSchema{Type: name}
			for inner := range blockSpec(spec, name).Fields() {
				if label, kind, _ := strings.Cut(inner.Tag.Get("hcl"), ","); kind == "label" {
					header.LabelNames = append(header.LabelNames, label)
				}
			}
			schema.Blocks = append(schema.Blocks, header)
		case "remain":
			rest = true
		}
	}
	return schema, rest
}

// decode puts what a body says into a spec, after refuseUnknown and refuseExpressions have judged the body.
func decode(body hcl.Body, into reflect.Value) hcl.Diagnostics {
	schema, rest := schemaOf(into.Type())
	var content *hcl.BodyContent
	var diags hcl.Diagnostics
	if rest {
		content, _, diags = body.PartialContent(schema)
	} else {
		content, diags = body.Content(schema)
	}
	blocks := content.Blocks.ByType()
	for i := range into.NumField() {
		name, kind, _ := strings.Cut(into.Type().Field(i).Tag.Get("hcl"), ",")
		switch kind {
		case "", "optional":
			if attr := content.Attributes[name]; attr != nil {
				diags = append(diags, decodeAttribute(attr.Expr, into.Field(i))...)
			}
		case "block":
			diags = append(diags, decodeBlocks(name, blocks[name], body, into.Field(i))...)
		}
	}
	return diags
}

func decodeBlocks(name string, blocks hcl.Blocks, around hcl.Body, into reflect.Value) hcl.Diagnostics {
	if into.Kind() == reflect.Slice {
		into.Set(reflect.MakeSlice(into.Type(), len(blocks), len(blocks)))
		var diags hcl.Diagnostics
		for i, block := range blocks {
			diags = append(diags, decodeBlock(block, into.Index(i))...)
		}
		return diags
	}
	switch {
	case len(blocks) > 1:
		return mistaken(blocks[1].DefRange, fmt.Sprintf("Duplicate %s block", name),
			fmt.Sprintf("Only one %s block is allowed. Another was defined at %s.", name, blocks[0].DefRange))
	case len(blocks) == 1 && into.Kind() == reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		return decodeBlock(blocks[0], into.Elem())
	case len(blocks) == 1:
		return decodeBlock(blocks[0], into)
	case into.Kind() != reflect.Pointer:
		return mistaken(around.MissingItemRange(), fmt.Sprintf("Missing %s block", name), fmt.Sprintf("A %s block is required.", name))
	}
	return nil
}

func decodeBlock(block *hcl.Block, into reflect.Value) hcl.Diagnostics {
	diags := decode(block.Body, into)
	labels := block.Labels
	for i := range into.NumField() {
		if _, kind, _ := strings.Cut(into.Type().Field(i).Tag.Get("hcl"), ","); kind == "label" && len(labels) > 0 {
			into.Field(i).SetString(labels[0])
			labels = labels[1:]
		}
	}
	return diags
}

// decodeAttribute takes the literals that node.hcl has: a string, a list or an object of strings, true and false. What refuseExpressions
// has refused is unknown, and reported.
func decodeAttribute(e hcl.Expression, into reflect.Value) hcl.Diagnostics {
	value, diags := e.Value(nil)
	if diags.HasErrors() || !value.IsWhollyKnown() {
		return diags
	}
	want := map[reflect.Kind]cty.Type{reflect.Slice: cty.List(cty.String), reflect.Map: cty.Map(cty.String), reflect.Pointer: cty.Bool}[into.Kind()]
	if want == cty.NilType {
		want = cty.String
	}
	value, err := convert.Convert(value, want)
	if err != nil {
		return mistaken(e.StartRange(), "Unsuitable value type", "Unsuitable value: "+err.Error())
	}
	switch into.Kind() {
	case reflect.String:
		into.SetString(value.AsString())
	case reflect.Pointer:
		yes := value.True()
		into.Set(reflect.ValueOf(&yes))
	case reflect.Slice:
		list := []string{}
		for _, item := range value.AsValueSlice() {
			list = append(list, item.AsString())
		}
		into.Set(reflect.ValueOf(list))
	case reflect.Map:
		object := map[string]string{}
		for key, item := range value.AsValueMap() {
			object[key] = item.AsString()
		}
		into.Set(reflect.ValueOf(object))
	}
	return nil
}

func mistaken(at hcl.Range, summary, detail string) hcl.Diagnostics {
	return hcl.Diagnostics{{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: &at}}
}
