package image

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
)

const packageFormat = `${binary:Package}\t${Version}\t${Architecture}\t${source:Package}\t${source:Version}\n`

// listPackages writes the package database down.
func (a *Assembly) listPackages(ctx context.Context) error {
	table, err := a.box.output(a.Command(ctx, "dpkg-query", "--show", "--showformat="+packageFormat))
	if err != nil {
		return err
	}
	if a.result.Packages, err = parsePackages(string(table)); err != nil {
		return err
	}
	for i, p := range a.result.Packages {
		a.result.Packages[i].Sealed = sealedAway(p.Name, a.spec.Packages)
	}
	return nil
}

// sealPackages removes the packages of the bake file by file. dpkg --remove would run their maintainer scripts, which say
// goodbye to a running system.
func (a *Assembly) sealPackages(ctx context.Context) error {
	var keep, seal []string
	for _, p := range a.result.Packages {
		if p.Sealed {
			seal = append(seal, p.Name)
		} else {
			keep = append(keep, p.Name)
		}
	}
	kept, err := a.box.output(a.Command(ctx, append([]string{"dpkg-query", "--listfiles"}, keep...)...))
	if err != nil {
		return err
	}
	sealed, err := a.box.output(a.Command(ctx, append([]string{"dpkg-query", "--listfiles"}, seal...)...))
	if err != nil {
		return err
	}
	return a.removePaths(ctx, pathsOnlyIn(string(sealed), string(kept)))
}

// removePaths removes files and empty directories of the tree. A directory that still holds something is
// another package's too, or the sealing of paths comes to it.
func (a *Assembly) removePaths(ctx context.Context, paths []string) error {
	var stderr bytes.Buffer
	remove := a.Command(ctx, "xargs", "--null", "rm", "--force", "--dir", "--")
	remove.Stdin = strings.NewReader(strings.Join(paths, "\x00"))
	remove.Stderr = &stderr
	err := remove.Run()
	if err == nil {
		return nil
	}
	for line := range strings.Lines(stderr.String()) {
		if !strings.HasSuffix(line, ": Directory not empty\n") {
			return &toolError{Tool: "rm", Output: strings.TrimSpace(line), Err: err}
		}
	}
	if stderr.Len() == 0 {
		return &toolError{Tool: "rm", Err: err}
	}
	return nil
}

// parsePackages reads the table of packageFormat.
func parsePackages(table string) ([]Package, error) {
	var out []Package
	for line := range strings.Lines(table) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 5 {
			return nil, fmt.Errorf("dpkg-query wrote %q, want five columns", line)
		}
		name, _, _ := strings.Cut(f[0], ":") // "libc6:amd64"
		out = append(out, Package{Name: name, Version: f[1], Architecture: f[2], Source: f[3], SourceVersion: f[4]})
	}
	slices.SortFunc(out, func(a, b Package) int { return strings.Compare(a.Name+a.Architecture, b.Name+b.Architecture) })
	return out, nil
}

// sealedAway reports whether a package is there for the bake alone. A package that the spec
// asks for never is.
func sealedAway(name string, asked []string) bool {
	if slices.ContainsFunc(asked, func(p string) bool { n, _, _ := strings.Cut(p, "="); return n == name }) {
		return false
	}
	return slices.Contains(bakeOnly, name)
}

// pathsOnlyIn lists the paths of one dpkg listing that another does not have, deepest first.
func pathsOnlyIn(listing, other string) []string {
	have := map[string]bool{}
	for line := range strings.Lines(other) {
		have[strings.TrimSuffix(line, "\n")] = true
	}
	var out []string
	for line := range strings.Lines(listing) {
		p := strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(p, "/") && p != "/." && !have[p] {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	slices.Reverse(out)
	return out
}
