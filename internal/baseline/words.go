package baseline

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/distribution"
	"github.com/strongroom/strongroom/internal/server"
)

// words are all that a control may write as ${…}: the profile's parameters, and the names of its server, layout and
// distribution.
type words struct {
	texts map[string]string
	lists map[string][]string // parameters of a type that is a list
}

// layoutWords are ways out that each layout has its own of: an image is baked again, a machine is hardened again.
var layoutWords = map[string]map[string]string{
	distribution.Sealed: {
		"layout.rebuild": "rebuild the image",
		"layout.boot":    "boot the unified kernel image of the baseline",
	},
	distribution.Installed: {
		"layout.rebuild": "harden the machine again and make a new image of it",
		"layout.boot":    "have the boot loader pass what lies below /usr/lib/strongroom/cmdline.d (docs/installed.md) and restart",
	},
}

// wordsOf gives the words of a profile whose parameters are resolved.
func (c *Catalogue) wordsOf(p control.Profile) (words, error) {
	product, err := server.Find(p.Server)
	if err != nil {
		return words{}, err
	}
	d, err := distribution.Find(p.Layout, p.Distribution)
	if err != nil {
		return words{}, err
	}
	w := words{texts: product.Words(), lists: d.Lists(p.Layout)}
	maps.Copy(w.texts, d.Words())
	maps.Copy(w.texts, layoutWords[p.Layout])
	maps.Copy(w.texts, p.Parameters)
	for i := range c.Parameters {
		param := &c.Parameters[i]
		if t, err := param.kind(); err == nil && t.list {
			delete(w.texts, param.Name)
			w.lists[param.Name] = strings.Fields(p.Parameters[param.Name])
		}
	}
	return w, nil
}

// parameterUse is ${memory_lock}, a parameter, or ${server.unit}, a word of the profile's server.
var parameterUse = regexp.MustCompile(`\$\{([a-z][a-z0-9_]*(?:\.[a-z_]+)?)\}`)

// substitute copies a node with ${parameter} filled in. A value that is nothing but a parameter
// takes that parameter's type, so that ${api_port} is a number where a number is due. An item of a list that is
// nothing but a list becomes as many items as that has entries, possibly none.
func substitute(node *yaml.Node, w words) (*yaml.Node, error) {
	out := *node
	out.Content = nil
	for _, c := range node.Content {
		if entries, ok := w.list(c); ok && node.Kind == yaml.SequenceNode {
			for _, entry := range entries {
				out.Content = append(out.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: entry, Line: c.Line, Column: c.Column})
			}
			continue
		}
		s, err := substitute(c, w)
		if err != nil {
			return nil, err
		}
		out.Content = append(out.Content, s)
	}
	if node.Kind != yaml.ScalarNode || !strings.Contains(node.Value, "${") {
		return &out, nil
	}
	var err error
	if out.Value, err = w.fill(node.Value); err != nil {
		return nil, &lineError{node.Line, err}
	}
	if parameterUse.FindString(node.Value) == node.Value {
		out.Tag, out.Style = "", 0 // let the value decide, as if it had been written here
	}
	return &out, nil
}

// list gives the entries when a node is one list and nothing else.
func (w words) list(n *yaml.Node) ([]string, bool) {
	use := parameterUse.FindStringSubmatch(n.Value)
	if n.Kind != yaml.ScalarNode || use == nil || use[0] != n.Value {
		return nil, false
	}
	entries, ok := w.lists[use[1]]
	return entries, ok
}

// fill replaces every ${parameter} of a text.
func (w words) fill(text string) (string, error) {
	var errs []error
	out := parameterUse.ReplaceAllStringFunc(text, func(use string) string {
		name := parameterUse.FindStringSubmatch(use)[1]
		v, ok := w.texts[name]
		if _, isList := w.lists[name]; isList {
			errs = append(errs, fmt.Errorf("%s is a list, which can stand only as an item of a list, with nothing else in the item", use))
		} else if !ok {
			errs = append(errs, fmt.Errorf("unknown parameter %s", use))
		}
		return v
	})
	return out, errors.Join(errs...)
}
