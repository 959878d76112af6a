package resource

import (
	"context"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// VaultConfig states what the configuration that Vault will be started with must and must not
// say. The file is written below /run at boot, so there is nothing to render and nothing to see
// in a tree.
type VaultConfig struct {
	Path string `yaml:"path" json:"path"`
	Name string `yaml:"name" json:"name"` // what these settings are about; unique for the path
	// Require maps a setting ("disable_mlock", "listener.tcp.tls_min_version") to its value.
	Require map[string]string `yaml:"require" json:"require,omitempty"`
	// Forbid lists settings and blocks that must not appear ("storage.raft.retry_join").
	Forbid []string `yaml:"forbid" json:"forbid,omitempty"`
}

var settingName = regexp.MustCompile(`^[a-z0-9_]+(\.[a-z0-9_]+)*$`)

func (v *VaultConfig) Key() control.Key {
	return control.Key{Kind: "vault_config", Name: v.Path + "#" + v.Name}
}

func (v *VaultConfig) Validate() error {
	var r require
	r.that(path.IsAbs(v.Path) && path.Clean(v.Path) == v.Path, "path %q is not absolute and clean", v.Path)
	r.that(slugName.MatchString(v.Name), "name %q is not a slug", v.Name)
	r.that(len(v.Require)+len(v.Forbid) > 0, "nothing is required or forbidden")
	for _, name := range slices.Concat(slices.Sorted(maps.Keys(v.Require)), v.Forbid) {
		r.that(settingName.MatchString(name), "setting %q is not dotted lower-case names (like listener.tcp.tls_disable)", name)
	}
	for _, f := range v.Forbid {
		_, both := v.Require[f]
		r.that(!both, "%s is both required and forbidden", f)
	}
	return r.err()
}

func (v *VaultConfig) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

func (v *VaultConfig) Verify(_ context.Context, h host.Host, stage control.Stage) []control.Observation {
	if !stage.Runs() {
		return nil
	}
	o := effective(v.Key())
	content, err := h.ReadFile(v.Path)
	if err != nil {
		o.missing(v.Path, "a configuration", err)
		return o.out
	}
	found, err := vaultSettings(content, v.Path)
	if err != nil {
		o.unknown(v.Path, "valid HCL", err)
		return o.out
	}
	for _, k := range slices.Sorted(maps.Keys(v.Require)) {
		got := found[k]
		if len(got) == 0 {
			got = []string{"not set"}
		}
		// A block may repeat (two listeners); the setting must hold in each.
		ok := true
		for _, g := range got {
			ok = ok && g == v.Require[k]
		}
		o.judge(v.Path+" "+k, v.Require[k], strings.Join(got, ", "), ok)
	}
	for _, k := range v.Forbid {
		got := "not set"
		for _, name := range slices.Sorted(maps.Keys(found)) {
			if name == k || strings.HasPrefix(name, k+".") {
				got = name + " is set" // the value may be a secret
				break
			}
		}
		o.equal(v.Path+" "+k, "not set", got)
	}
	return o.out
}

// vaultSettings flattens a configuration to dotted names in lower case: Vault's own parser does not
// tell upper from lower case. A block contributes its type and labels; a block without attributes is
// there with the value "". An attribute that holds an object is to Vault the same as a block.
func vaultSettings(content []byte, name string) (map[string][]string, error) {
	file, diags := hclsyntax.ParseConfig(content, path.Base(name), hcl.InitialPos)
	if diags.HasErrors() {
		return nil, fmt.Errorf("cannot parse: %s", diags.Error())
	}
	out := settings{}
	out.body(file.Body.(*hclsyntax.Body), "")
	return out, nil
}

type settings map[string][]string

func (s settings) add(name, value string) {
	name = strings.ToLower(name)
	s[name] = append(s[name], value)
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
	for elements := v.ElementIterator(); elements.Next(); {
		key, element := elements.Element()
		if v.Type().IsObjectType() {
			s.value(name+"."+key.AsString(), element)
			continue
		}
		s.value(name, element)
	}
}
