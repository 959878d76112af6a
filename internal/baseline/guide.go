package baseline

import (
	"fmt"
	"regexp"

	"go.yaml.in/yaml/v3"

	"github.com/strongroom/strongroom/internal/control"
)

// guideFile is the catalogue file that holds the guide in place of controls.
const guideFile = "guide.yaml"

var guideID = map[control.GuideLevel]*regexp.Regexp{
	control.GuideBaseline: regexp.MustCompile(`^B[1-9][0-9]?$`),
	control.GuideExtended: regexp.MustCompile(`^E[1-9][0-9]?$`),
}

func (c *Catalogue) parseGuide(content []byte) []error {
	root, err := document(guideFile, content)
	if err != nil {
		return []error{err}
	}
	if err := decodeStrict(root, &c.Guide); err != nil {
		return []error{inFile(guideFile, err)}
	}
	var errs []error
	complain := func(line int, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: "+format, append([]any{place(guideFile, line)}, args...)...))
	}
	if c.Guide.Name == "" || c.Guide.Revision == "" || c.Guide.URL == "" {
		complain(root.Line, "the guide needs name, revision and url: an auditor asks which document was followed")
	}
	seen := map[string]int{}
	c.guideLines = itemLines(root, "items")
	for i, line := range c.guideLines {
		item := c.Guide.Items[i]
		if before, dup := seen[item.ID]; dup {
			complain(line, "item %q is there already, in line %d", item.ID, before)
		}
		seen[item.ID] = line
		switch pattern, known := guideID[item.Level]; {
		case !known:
			complain(line, "item %q: level %q is neither baseline nor extended", item.ID, item.Level)
		case !pattern.MatchString(item.ID):
			complain(line, "item %q is not the id of a %s item (B1, E1)", item.ID, item.Level)
		}
		if item.Title == "" || item.Asks == "" {
			complain(line, "item %q needs a title and what it asks", item.ID)
		}
	}
	return errs
}

// itemLines finds the lines on which the entries of a list begin.
func itemLines(root *yaml.Node, list string) []int {
	var lines []int
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == list {
			for _, item := range root.Content[i+1].Content {
				lines = append(lines, item.Line)
			}
		}
	}
	return lines
}

// uncited names the items of the guide that no control serves. The catalogue follows the whole guide: what no
// host can prove is a procedure, and not a gap.
func (c *Catalogue) uncited() []error {
	cited := map[string]bool{}
	for _, e := range c.entries {
		for _, id := range e.guide {
			cited[id] = true
		}
	}
	var errs []error
	for i, item := range c.Guide.Items {
		if !cited[item.ID] {
			errs = append(errs, fmt.Errorf("%s: item %s is cited by no control: state it, or say in a procedure why no host can prove it",
				place(guideFile, c.guideLines[i]), item.ID))
		}
	}
	return errs
}
