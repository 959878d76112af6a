// Package baseline turns the catalogue of controls into the statement of one profile: every value
// resolved, canonical JSON, one digest, and the overlay that brings it about. All of it is pure.
package baseline

import (
	"errors"
	"fmt"
	"io/fs"
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
	resources []*yaml.Node
	site      bool // a user's, not ours
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
	for name, node := range t.When {
		values, err := oneOrMany(&node)
		if err != nil {
			complain("when %s: %v", name, err)
		}
		e.when[name] = values
	}
	for i := range t.Resources {
		e.resources = append(e.resources, &t.Resources[i])
	}
	return e, errors.Join(errs...)
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
		for name := range e.when {
			if _, ok := params[name]; !ok && !slices.Contains(profileFields, name) {
				errs = append(errs, fmt.Errorf("%s: control %q: when names %q, which is neither a parameter nor one of %s",
					place(e.file, e.line), e.id, name, strings.Join(profileFields, ", ")))
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

// validateEntry fills an entry in with the default parameters, for the first server that it is about.
func (c *Catalogue) validateEntry(e entry, params map[string]string) []error {
	p := control.Profile{Server: Servers[0], Parameters: params}
	if servers := e.when["server"]; len(servers) > 0 {
		p.Server = servers[0]
	}
	w, err := c.wordsOf(p)
	if err != nil {
		return []error{fmt.Errorf("%s: control %q: %w", place(e.file, e.line), e.id, err)}
	}
	var errs []error
	if _, err := e.control(w); err != nil {
		errs = append(errs, fmt.Errorf("%s: control %q: %w", place(e.file, e.line), e.id, err))
	}
	var decoded control.Control
	for _, n := range e.resources {
		res, err := decodeResource(n, w)
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

var profileFields = []string{"server", "platform", "layout", "distribution"}

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
