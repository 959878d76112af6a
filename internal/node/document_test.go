package node

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// The reference names every key, seal, device and credential, and its example is good.
func TestDocument(t *testing.T) {
	content, err := os.ReadFile("../../docs/node-config.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(content)
	var keys []string
	var collect func(reflect.Type)
	collect = func(spec reflect.Type) {
		for f := range spec.Fields() {
			name, kind, _ := strings.Cut(f.Tag.Get("hcl"), ",")
			if name == "" || kind == "label" {
				continue
			}
			if kind != "block" {
				keys = append(keys, name)
				continue
			}
			if inner := blockSpec(spec, name); !takesTheRest(inner) {
				collect(inner)
			}
		}
	}
	collect(reflect.TypeFor[fileSpec]())
	for _, seal := range sealTypes {
		keys = append(keys, seal.name)
		for _, o := range seal.options {
			keys = append(keys, o.name)
		}
	}
	for _, device := range auditTypes {
		for _, o := range device.options {
			keys = append(keys, o.name)
		}
	}
	for _, sink := range sinkTypes {
		for _, o := range sink.options {
			keys = append(keys, o.name)
		}
	}
	for _, r := range retireTypes {
		keys = append(keys, r.name)
		for _, o := range r.options {
			keys = append(keys, o.name)
		}
	}
	for _, key := range slices.Concat(keys, CredentialNames, SnapshotCredentialNames) {
		if !strings.Contains(text, "`"+key+"`") && !strings.Contains(text, `"`+key+`"`) {
			t.Errorf("docs/node-config.md does not name `%s`", key)
		}
	}
	_, example, found := strings.Cut(text, "```hcl\n")
	example, _, closed := strings.Cut(example, "```")
	if !found || !closed {
		t.Fatal("there is no example")
	}
	if _, err := Parse("example", []byte(example), Image{Server: "vault", ClusterPort: 8201}); err != nil {
		t.Errorf("the example:\n%v", err)
	}
}
