package baseline

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
)

// File is a file of a user's: where it lies, for messages, and what it holds.
type File struct {
	Name    string
	Content []byte
}

// ReadFiles reads files of a user's by a function such as os.ReadFile, in their order.
func ReadFiles(names []string, read func(string) ([]byte, error)) ([]File, error) {
	files := make([]File, len(names))
	var errs []error
	for i, name := range names {
		content, err := read(name)
		errs = append(errs, err)
		files[i] = File{name, content}
	}
	return files, errors.Join(errs...)
}

var familyName = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

func siteFamily(_, family string) error {
	if !familyName.MatchString(family) {
		return fmt.Errorf("family %q is not of lower-case words joined by hyphens (family: acme)", family)
	}
	return nil
}

// With gives the catalogue together with site controls: a user's own, of the same form and as strict. Their
// families, ids, parameters and resources must not be ours. They may cite the guide, and do not have to when
// they say in refs where they come from.
func (c *Catalogue) With(files ...File) (*Catalogue, error) {
	if len(files) == 0 {
		return c, nil
	}
	all := *c
	all.entries, all.Parameters, all.declared = slices.Clone(c.entries), slices.Clone(c.Parameters), maps.Clone(c.declared)
	var errs []error
	for _, f := range files {
		errs = append(errs, all.parseFile(f.Name, f.Content, siteFamily)...)
	}
	for i := len(c.entries); i < len(all.entries); i++ {
		all.entries[i].site = true
	}
	errs = append(errs, all.validate(len(c.entries))...)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &all, nil
}
