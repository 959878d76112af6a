package sbom

import (
	"debug/buildinfo"
	"io"
	"runtime/debug"
	"slices"
	"strings"
)

// ReadProgram gives what the Go linker wrote into a program: its main module, the modules in it and Go's own library as the module
// "stdlib", as vulnerability databases call it. A program that Go did not build is named by path and digest alone.
func ReadProgram(r io.ReaderAt, path, sha256 string) Program {
	p := Program{Path: path, SHA256: sha256}
	info, err := buildinfo.Read(r)
	if err != nil {
		return p
	}
	p.Main = moduleOf(&info.Main)
	if goVersion, ok := strings.CutPrefix(info.GoVersion, "go"); ok {
		version, _, _ := strings.Cut(goVersion, " ") // experiments follow
		p.Modules = append(p.Modules, Module{Path: "stdlib", Version: version})
	}
	for _, m := range info.Deps {
		p.Modules = append(p.Modules, moduleOf(m))
	}
	slices.SortFunc(p.Modules, compareModules)
	p.Modules = slices.Compact(p.Modules)
	return p
}

// moduleOf is the module whose code is there: the one in the place of another, if it was replaced.
func moduleOf(m *debug.Module) Module {
	version := m.Version
	if m.Replace != nil && m.Replace.Version != "" {
		m, version = m.Replace, m.Replace.Version
	} else if m.Replace != nil {
		version = "" // by a directory, whose name is the build machine's
	}
	if version == "(devel)" {
		version = ""
	}
	return Module{Path: m.Path, Version: version}
}
