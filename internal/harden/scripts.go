package harden

import (
	"embed"
	"fmt"
	"maps"
	"slices"
	"strings"
)

//go:embed scripts
var scripts embed.FS

// script is one script as the machine runs it: the values, what all scripts have, the script. It is one file, so that nothing
// depends on where it lies, and it is given to sh, so that it need not be executable.
func script(name string, values map[string]string) []byte {
	var out strings.Builder
	out.WriteString("#!/bin/sh\n")
	for _, key := range slices.Sorted(maps.Keys(values)) {
		fmt.Fprintf(&out, "%s=%s\n", key, quote(values[key]))
	}
	for _, part := range []string{"lib.sh", name + ".sh"} {
		text, err := scripts.ReadFile("scripts/" + part)
		if err != nil {
			panic(err) // a name in this package
		}
		out.WriteString("\n")
		out.Write(text)
	}
	return []byte(out.String())
}

// quote makes one word of the shell of a text.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// quoteAll makes a command line.
func quoteAll(argv []string) string {
	var out []string
	for _, a := range argv {
		out = append(out, quote(a))
	}
	return strings.Join(out, " ")
}
