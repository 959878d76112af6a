package sbom

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// License is what a package says of its licence.
type License struct {
	Expression string `json:"expression"` // of SPDX 2.3, such as "GPL-2.0-or-later AND LicenseRef-debian-acpid-public-domain"
	// Named are the licences of the expression that SPDX does not list: the short name that the package gives each, by LicenseRef.
	Named map[string]string `json:"named,omitempty"`
}

// shortNames are the short names of Debian's format 1.0 of copyright files for licences that SPDX lists, as section 7.1 defines
// them. A "+" behind one of a family with versions means any later version.
var shortNames = map[string]string{
	"0BSD": "0BSD", "AGPL-3": "AGPL-3.0", "Apache-2.0": "Apache-2.0", "Apache-1.1": "Apache-1.1", "Artistic": "Artistic-1.0", "Artistic-2.0": "Artistic-2.0",
	"BSD-2-clause": "BSD-2-Clause", "BSD-3-clause": "BSD-3-Clause", "BSD-4-clause": "BSD-4-Clause", "BSL-1.0": "BSL-1.0", "CC0": "CC0-1.0", "CC0-1.0": "CC0-1.0",
	"Expat": "MIT", "FSFAP": "FSFAP", "FSFUL": "FSFUL", "FSFULLR": "FSFULLR",
	"GFDL-1.1": "GFDL-1.1", "GFDL-1.2": "GFDL-1.2", "GFDL-1.3": "GFDL-1.3",
	"GPL-1": "GPL-1.0", "GPL-2": "GPL-2.0", "GPL-2.0": "GPL-2.0", "GPL-3": "GPL-3.0", "GPL-3.0": "GPL-3.0", "ISC": "ISC",
	"LGPL-2": "LGPL-2.0", "LGPL-2.0": "LGPL-2.0", "LGPL-2.1": "LGPL-2.1", "LGPL-3": "LGPL-3.0", "LGPL-3.0": "LGPL-3.0",
	"MPL-1.1": "MPL-1.1", "MPL-2.0": "MPL-2.0", "OFL-1.1": "OFL-1.1", "OpenSSL": "OpenSSL", "Python-2.0": "Python-2.0", "Unlicense": "Unlicense", "X11": "X11", "Zlib": "Zlib", "zlib": "Zlib",
}

// orLater are the families whose identifiers SPDX ends with -only or -or-later.
var orLater = regexp.MustCompile(`^(AGPL|GFDL|GPL|LGPL)-`)

// ReadCopyright reads the licences of a package from Debian's copyright file in the machine-readable format 1.0
// (https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/). They are those of the whole source package: all of them hold
// for something in it. Nil is a file of another form, of which nothing is said.
func ReadCopyright(source string, text []byte) *License {
	terms := map[string]bool{}
	l := &License{Named: map[string]string{}}
	machineReadable := false
	for line := range strings.Lines(string(text)) {
		field, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if !ok || strings.HasPrefix(field, " ") || strings.HasPrefix(field, "\t") {
			continue
		}
		value = strings.Join(strings.Fields(value), " ")
		switch strings.ToLower(field) {
		case "format", "format-specification":
			machineReadable = machineReadable || strings.Contains(value, "copyright-format") || strings.Contains(value, "dep5")
		case "license":
			if value != "" {
				terms[l.term(source, value)] = true
			}
		}
	}
	if !machineReadable || len(terms) == 0 {
		return nil
	}
	sorted := make([]string, 0, len(terms))
	for t := range terms {
		if strings.Contains(t, " OR ") && len(terms) > 1 {
			t = "(" + t + ")"
		}
		sorted = append(sorted, t)
	}
	slices.Sort(sorted)
	l.Expression = strings.Join(sorted, " AND ")
	return l
}

var connectors = regexp.MustCompile(` (?:and|or) `)

// term is one value of a field License as an expression of SPDX. Where "and" and "or" meet the commas of Debian's grammar, or a
// licence has an exception, the whole value is named and not taken apart.
func (l *License) term(source, value string) string {
	words := connectors.FindAllString(value, -1)
	slices.Sort(words)
	if words = slices.Compact(words); len(words) > 1 || strings.Contains(value, ",") || strings.Contains(value, " with ") {
		return l.name(source, value)
	}
	parts := connectors.Split(value, -1)
	for i, p := range parts {
		parts[i] = l.identifier(source, p)
	}
	if len(words) == 0 {
		return parts[0]
	}
	return strings.Join(parts, strings.ToUpper(words[0]))
}

func (l *License) identifier(source, short string) string {
	base, later := strings.CutSuffix(short, "+")
	id, ok := shortNames[base]
	switch {
	case !ok || later && !orLater.MatchString(id):
		return l.name(source, short)
	case later:
		return id + "-or-later"
	case orLater.MatchString(id):
		return id + "-only"
	}
	return id
}

var notInIdentifiers = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

// name makes an identifier of a licence that SPDX does not list. Two packages can mean two licences by one short name, so
// it holds the source package's.
func (l *License) name(source, short string) string {
	ref := "LicenseRef-debian-" + notInIdentifiers.ReplaceAllString(strings.ReplaceAll(source+"-"+short, "+", "plus"), "-")
	for n := 2; l.Named[ref] != "" && l.Named[ref] != short; n++ {
		ref = fmt.Sprintf("%s-%d", strings.TrimSuffix(ref, fmt.Sprintf("-%d", n-1)), n)
	}
	l.Named[ref] = short
	return ref
}
