package statement

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/digest"
	"github.com/strongroom/strongroom/internal/measure"
	"github.com/strongroom/strongroom/internal/sbom"
)

// manifest is what the statement repeats of manifest.json. Other fields are for others.
type manifest struct {
	Name         string            `json:"name"`
	Version      string            `json:"version"`
	Distribution string            `json:"distribution"`
	Snapshot     string            `json:"snapshot"`
	Profile      string            `json:"profile"`
	Parameters   map[string]string `json:"parameters"`
	Overlay      string            `json:"overlay_sha256"`
	RootHash     string            `json:"root_hash"`
	Lock         *Lock             `json:"lock"`
	Files        []Subject         `json:"files"`
	Beside       []Subject         `json:"beside"`
	Netboot      *struct {
		RootHash string    `json:"root_hash"`
		Files    []Subject `json:"files"`
	} `json:"netboot"`
}

// ManifestName is the file that describes the artifacts beside it.
const ManifestName = "manifest.json"

// netbootDir is the directory of the netboot bundle.
const netbootDir = "netboot"

// Facts are what a bake knows and no file of its output says.
type Facts struct {
	Baseline   string // digest
	Builder    string // version
	Time       time.Time
	ValidUntil time.Time
}

// Describe states what lies in the output directory of a bake: every file but the statement itself and [TimesName]. Digests that the manifest has
// are taken from it; the bake has just made them.
func Describe(ctx context.Context, dir string, facts Facts) (Statement, error) {
	m, err := readManifest(dir)
	if err != nil {
		return Statement{}, err
	}
	known := map[string]Subject{}
	for _, f := range m.listed() {
		known[f.Name] = f
	}
	names, err := list(dir)
	if err != nil {
		return Statement{}, err
	}
	digests := map[string]string{}
	var s Statement
	for _, name := range names {
		subject, ok := known[name]
		if !ok {
			if subject, err = readSubject(ctx, dir, name); err != nil {
				return Statement{}, fmt.Errorf("cannot state %s: %w", name, err)
			}
		}
		digests[name] = subject.SHA256
		s.Subjects = append(s.Subjects, subject)
	}
	text, err := os.ReadFile(filepath.Join(dir, measure.FileName))
	if err != nil {
		return Statement{}, fmt.Errorf("cannot state the measurements: %w", err)
	}
	measurements, err := measure.Parse(text)
	if err != nil {
		return Statement{}, err
	}
	s.Predicate = Predicate{
		Name: m.Name, Version: m.Version, Distribution: m.Distribution, Snapshot: m.Snapshot, Profile: m.Profile, Parameters: m.Parameters,
		Time: facts.Time.UTC(), ValidUntil: facts.ValidUntil, Builder: Builder{BuilderID, facts.Builder},
		RootHash: m.RootHash, Overlay: m.Overlay, Baseline: facts.Baseline, Report: digests[ReportName],
		Bills: map[string]string{}, Lock: m.Lock, Measurements: measurements,
	}
	for _, name := range []string{sbom.SPDXName, sbom.CycloneDXName} {
		s.Predicate.Bills[name] = digests[name]
	}
	return s, nil
}

// listed are the files that a manifest names, relative to its directory.
func (m manifest) listed() []Subject {
	all := slices.Concat(m.Files, m.Beside)
	if m.Netboot != nil {
		for _, f := range m.Netboot.Files {
			f.Name = netbootDir + "/" + f.Name
			all = append(all, f)
		}
	}
	return all
}

func readManifest(dir string) (manifest, error) {
	var m manifest
	text, err := os.ReadFile(filepath.Join(dir, ManifestName))
	if err != nil {
		return m, fmt.Errorf("cannot read the manifest: %w", err)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("cannot read the manifest: %w", err)
	}
	return m, nil
}

// TimesName is the one file of a bake that no statement is about: how long its steps took. It is no property of the image, nothing is
// decided by it, and it would make every statement another one.
const TimesName = "timings.json"

// list names the files below a directory that a statement is about: all but itself, and the times that the bake took.
func list(dir string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := filepath.ToSlash(strings.TrimPrefix(strings.TrimPrefix(p, dir), string(filepath.Separator)))
		if name != FileName && name != TimesName {
			names = append(names, name)
		}
		return nil
	})
	return names, err
}

// readSubject measures a file of the output directory; a link is none.
func readSubject(ctx context.Context, dir, name string) (Subject, error) {
	p := filepath.Join(dir, filepath.FromSlash(name))
	info, err := os.Lstat(p)
	if err != nil {
		return Subject{}, err
	}
	if !info.Mode().IsRegular() {
		return Subject{}, fmt.Errorf("it is no regular file")
	}
	f, err := os.Open(p)
	if err != nil {
		return Subject{}, err
	}
	defer f.Close()
	sum, size, err := digest.Of(ctx, f)
	if err != nil {
		return Subject{}, err
	}
	return Subject{Name: name, SHA256: sum, Size: size}, nil
}
