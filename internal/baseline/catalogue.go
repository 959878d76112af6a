// Package baseline turns the catalogue of controls into the statement of one profile: every value
// resolved, canonical JSON, one digest, and the overlay that brings it about. All of it is pure.
package baseline

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/resource"
)

// Catalogue is every control that we know, before a profile selects and resolves some of them.
type Catalogue struct {
	Parameters []Parameter
	Guide      control.Guide // whose items the controls cite
	guideLines []int         // where each item of it stands
	entries    []entry
	declared   map[string]string // "family memory", "parameter console" → where
	units      fs.FS             // unit files and their kin that every image carries verbatim
}

// entry is one control as the catalogue file states it: its resources may still hold ${parameters}.
type entry struct {
	file      string
	line      int
	id        string
	family    string
	title     string
	severity  control.Severity
	stage     control.Stage
	guide     []string
	refs      []string
	rationale string
	fix       string
	when      map[string][]string
	resources []resourceEntry
	site      bool // a user's, not ours
}

// resourceEntry is one resource of a control, and the profiles that it is for.
type resourceEntry struct {
	node *yaml.Node // without its when
	when map[string][]string
}

// noSource complains of a control that does not say where it comes from.
func (e entry) noSource() string {
	if e.site {
		return "neither an item of the hardening guide (guide: [B4]) nor a rule of your own (refs: [\"ACME 12.3\"]): an auditor asks where it comes from"
	}
	return "no item of the hardening guide (guide: [B4])"
}

type controlFile struct {
	Family     string        `yaml:"family"`
	Parameters []Parameter   `yaml:"parameters"`
	Controls   []controlText `yaml:"controls"`
}

type controlText struct {
	ID        string               `yaml:"id"`
	Title     string               `yaml:"title"`
	Severity  string               `yaml:"severity"`
	Stage     string               `yaml:"stage"`
	Guide     []string             `yaml:"guide"`
	Refs      []string             `yaml:"refs"`
	Rationale string               `yaml:"rationale"`
	Fix       string               `yaml:"fix"`
	When      map[string]yaml.Node `yaml:"when"`
	Resources []yaml.Node          `yaml:"resources"`
}

// Parse reads every *.yaml of a directory as one catalogue: guide.yaml is the guide that the controls of all
// others cite. units is the tree that the overlay carries verbatim (see Overlay). All mistakes are reported at
// once, each with file and line.
func Parse(files fs.FS, units fs.FS) (*Catalogue, error) {
	names, err := fs.Glob(files, "*.yaml")
	if err != nil {
		return nil, err
	}
	c := &Catalogue{units: units, declared: map[string]string{}}
	var errs []error
	for _, name := range names {
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("cannot read catalogue file %s: %w", name, err)
		}
		if name == guideFile {
			errs = append(errs, c.parseGuide(content)...)
			continue
		}
		errs = append(errs, c.parseFile(name, content, nameIsFamily)...)
	}
	if len(errs) == 0 {
		errs = c.uncited() // of a file that cannot be read it would complain item by item
	}
	errs = append(errs, c.validate(0)...)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return c, nil
}

// place is a position that a person can open.
func place(file string, line int) string { return fmt.Sprintf("%s:%d", file, line) }

// nameIsFamily is the rule for the names of our own families.
func nameIsFamily(file, family string) error {
	if want := strings.TrimSuffix(path.Base(file), ".yaml"); family != want {
		return fmt.Errorf("family is %q, the file's name says %q", family, want)
	}
	return nil
}

// parseFile adds the controls of one file.
func (c *Catalogue) parseFile(name string, content []byte, familyRule func(file, family string) error) []error {
	root, err := document(name, content)
	if err != nil {
		return []error{err}
	}
	var file controlFile
	if err := decodeStrict(root, &file); err != nil {
		return []error{inFile(name, err)}
	}
	var errs []error
	if err := familyRule(name, file.Family); err != nil {
		errs = append(errs, fmt.Errorf("%s: %w", place(name, root.Line), err))
	}
	errs = append(errs, c.declare("family", file.Family, place(name, root.Line))...)
	for i, line := range itemLines(root, "parameters") {
		errs = append(errs, c.declare("parameter", file.Parameters[i].Name, place(name, line))...)
	}
	c.Parameters = append(c.Parameters, file.Parameters...)
	lines := itemLines(root, "controls")
	for i, text := range file.Controls {
		e, err := text.entry(name, lines[i], file.Family)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		c.entries = append(c.entries, e)
	}
	return errs
}

// declare notes a name that may be given once in the whole catalogue.
func (c *Catalogue) declare(what, name, at string) []error {
	key := what + " " + name
	if before, taken := c.declared[key]; taken {
		return []error{fmt.Errorf("%s: %s %q is there already, at %s", at, what, name, before)}
	}
	c.declared[key] = at
	return nil
}

func (t controlText) entry(file string, line int, family string) (entry, error) {
	at := place(file, line)
	e := entry{
		file: file, line: line, id: t.ID, family: family, title: t.Title, severity: control.Severity(t.Severity),
		guide: t.Guide, refs: t.Refs, rationale: strings.TrimSpace(t.Rationale), fix: strings.TrimSpace(t.Fix),
		when: map[string][]string{},
	}
	var errs []error
	complain := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: control %q: "+format, append([]any{at, t.ID}, args...)...))
	}
	if !control.ValidID(t.ID) {
		complain("the id is not a slug of two words or more (like memory-swap-off)")
	}
	if t.Title == "" {
		complain("no title")
	}
	if e.severity != control.Must && e.severity != control.Should {
		complain("severity %q is neither must nor should", t.Severity)
	}
	if e.rationale == "" {
		complain("no rationale")
	}
	if len(t.Resources) == 0 {
		complain("no resources: a control that looks at nothing proves nothing")
	}
	stage, err := control.ParseStage(t.Stage)
	if err != nil {
		complain("%v", err)
	}
	e.stage = stage
	if e.when, err = conditions(t.When); err != nil {
		complain("when %v", err)
	}
	for i := range t.Resources {
		r, err := readResource(&t.Resources[i])
		if err != nil {
			complain("%v", err)
		}
		e.resources = append(e.resources, r)
	}
	return e, errors.Join(errs...)
}

// conditions reads fields of a profile with the values that select it.
func conditions(nodes map[string]yaml.Node) (map[string][]string, error) {
	out := map[string][]string{}
	for name, node := range nodes {
		values, err := oneOrMany(&node)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out[name] = values
	}
	return out, nil
}

// readResource takes the when off a resource: "- when: {layout: installed}" and the kind with its fields beside it.
func readResource(node *yaml.Node) (resourceEntry, error) {
	kind := *node
	kind.Content = nil
	out := resourceEntry{node: &kind}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Kind != yaml.MappingNode || node.Content[i].Value != "when" {
			kind.Content = append(kind.Content, node.Content[i], node.Content[i+1])
			continue
		}
		var when map[string]yaml.Node
		err := decodeStrict(node.Content[i+1], &when)
		if err == nil {
			out.when, err = conditions(when)
		}
		if err != nil {
			return out, fmt.Errorf("line %d: when of a resource: %w", node.Line, err)
		}
	}
	if node.Kind != yaml.MappingNode {
		out.node = node
	}
	return out, nil
}

func oneOrMany(n *yaml.Node) ([]string, error) {
	switch n.Kind {
	case yaml.ScalarNode:
		return []string{n.Value}, nil
	case yaml.SequenceNode:
		var out []string
		for _, item := range n.Content {
			if item.Kind != yaml.ScalarNode {
				return nil, fmt.Errorf("line %d: not a plain value", item.Line)
			}
			out = append(out, item.Value)
		}
		return out, nil
	}
	return nil, fmt.Errorf("line %d: neither a value nor a list of values", n.Line)
}

// validate checks what no single control can see: ids and parameters across files, and that every
// resource is sensible with the default parameters. The first controls have been looked at already.
func (c *Catalogue) validate(from int) []error {
	var errs []error
	seen := map[string]string{}
	for _, e := range c.entries {
		at := place(e.file, e.line)
		if before, ok := seen[e.id]; ok {
			errs = append(errs, fmt.Errorf("%s: control %q is there already, at %s", at, e.id, before))
		}
		seen[e.id] = at
	}
	params := map[string]string{}
	for i := range c.Parameters {
		p := &c.Parameters[i]
		params[p.Name] = p.Default
		if err := p.validate(); err != nil {
			errs = append(errs, err)
		}
	}
	if err := portsApart(c.Parameters, params); err != nil {
		errs = append(errs, err)
	}
	for _, e := range c.entries[from:] {
		all := []map[string][]string{e.when}
		for _, r := range e.resources {
			all = append(all, r.when)
		}
		for _, when := range all {
			for _, name := range slices.Sorted(maps.Keys(when)) {
				if _, ok := params[name]; !ok && !slices.Contains(profileFields, name) {
					errs = append(errs, fmt.Errorf("%s: control %q: when names %q, which is neither a parameter nor one of %s",
						place(e.file, e.line), e.id, name, strings.Join(profileFields, ", ")))
				}
			}
		}
		if len(e.guide) == 0 && (!e.site || len(e.refs) == 0) {
			errs = append(errs, fmt.Errorf("%s: control %q: %s", place(e.file, e.line), e.id, e.noSource()))
		}
		for _, id := range e.guide {
			if _, known := c.Guide.Item(id); !known {
				errs = append(errs, fmt.Errorf("%s: control %q: guide item %q is not in %s", place(e.file, e.line), e.id, id, guideFile))
			}
		}
		errs = append(errs, c.validateEntry(e, params)...)
	}
	return errs
}

// validateEntry fills an entry in with the default parameters, for the first profile that it is about, and each of its
// resources for the first that this one is about.
func (c *Catalogue) validateEntry(e entry, params map[string]string) []error {
	var errs []error
	complain := func(err error) {
		errs = append(errs, fmt.Errorf("%s: control %q: %w", place(e.file, e.line), e.id, err))
	}
	w, err := c.wordsWhere(params, e.when)
	if err == nil {
		_, err = e.control(w)
	}
	if err != nil {
		complain(err)
		if w.texts == nil {
			return errs
		}
	}
	var decoded control.Control
	for _, r := range e.resources {
		w, err := c.wordsWhere(params, e.when, r.when)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", place(e.file, r.node.Line), err))
			continue
		}
		res, err := decodeResource(r.node, w)
		if err != nil {
			errs = append(errs, inFile(e.file, err))
			continue
		}
		decoded.Resources = append(decoded.Resources, res)
	}
	if err := e.checkProcedure(decoded); err != nil {
		errs = append(errs, fmt.Errorf("%s: control %q: %w", place(e.file, e.line), e.id, err))
	}
	return errs
}

// wordsWhere gives the words of the first profile that conditions select; parameters that they name are not asked.
func (c *Catalogue) wordsWhere(params map[string]string, conditions ...map[string][]string) (words, error) {
	for _, layout := range Layouts {
		for _, serverID := range Servers {
			for _, platform := range Platforms {
				for _, d := range Distributions(layout) {
					p := control.Profile{Server: serverID, Platform: platform, Layout: layout, Distribution: d, Parameters: params}
					if !slices.ContainsFunc(conditions, func(when map[string][]string) bool {
						fields := maps.Clone(when)
						maps.DeleteFunc(fields, func(name string, _ []string) bool { return !slices.Contains(profileFields, name) })
						return !selects(fields, p)
					}) {
						return c.wordsOf(p)
					}
				}
			}
		}
	}
	return words{}, errors.New("when selects no profile that there is")
}

// checkProcedure keeps what is never judged apart from what is: a procedure beside a fact would vanish behind
// that fact's pass, and one that closed a gate or waited for a stage would promise a judgement.
func (e entry) checkProcedure(decoded control.Control) error {
	procedures := 0
	for _, r := range decoded.Resources {
		if r.Key().Kind == control.KindProcedure {
			procedures++
		}
	}
	switch {
	case procedures == 0:
		return nil
	case procedures < len(decoded.Resources):
		return errors.New("a procedure stands beside resources that are judged: give it a control of its own")
	case e.severity != control.Should || e.stage != control.StageImage:
		return errors.New("a procedure is never judged: its severity is should and its stage image")
	}
	return nil
}

// profileFields are what a when may name beside parameters. The family is the distribution's.
var profileFields = []string{"server", "platform", "layout", "distribution", "family"}

// decodeResource reads one "kind: {fields}" entry with its parameters filled in.
func decodeResource(node *yaml.Node, w words) (control.Resource, error) {
	if node.Kind != yaml.MappingNode || len(node.Content) != 2 {
		return nil, &lineError{node.Line, errors.New("a resource is one kind with its fields (- sysctl: {name: …, value: …})")}
	}
	kind := node.Content[0].Value
	res, ok := resource.New(kind)
	if !ok {
		return nil, &lineError{node.Line, fmt.Errorf("unknown kind %q (known: %s)", kind, strings.Join(resource.KindNames(), ", "))}
	}
	body, err := substitute(node.Content[1], w)
	if err != nil {
		return nil, err
	}
	if err := decodeStrict(body, res); err != nil {
		return nil, err
	}
	if err := res.Validate(); err != nil {
		return nil, &lineError{node.Line, fmt.Errorf("%s: %w", kind, err)}
	}
	return res, nil
}

// When says for which profiles a control is, by its id: profile fields and parameters with the values that
// select it. A control of every profile has none.
func (c *Catalogue) When(id string) map[string][]string {
	for _, e := range c.entries {
		if e.id == id {
			return e.when
		}
	}
	return nil
}

// Heading is what a control is called, whatever the profile; ${words} of its title are the profile's.
type Heading struct {
	ID, Title string
	Severity  control.Severity
}

// Headings lists the controls of all profiles.
func (c *Catalogue) Headings() []Heading {
	list := make([]Heading, 0, len(c.entries))
	for _, e := range c.entries {
		list = append(list, Heading{e.id, e.title, e.severity})
	}
	return list
}
