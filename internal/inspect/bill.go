package inspect

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/sbom"
)

// Bill is one bill of materials in the root.
type Bill struct {
	Path       string `json:"path"`
	Format     string `json:"format"`
	ID         string `json:"id"`
	Components int    `json:"components"`
}

// bills reads the bills of materials that the root carries, and compares them with each other and with the image.
func (in *inspector) bills() {
	var first []string // components of the first one, by what identifies them everywhere
	for _, name := range []string{sbom.CycloneDXName, sbom.SPDXName} {
		full := path.Join(sbom.Dir, name)
		text, err := in.readFile(strings.TrimPrefix(full, "/"))
		if errors.Is(err, fs.ErrNotExist) {
			in.add("sbom", Absent, in.root.name, "there is no %s", full)
			continue
		}
		var s sbom.Summary
		if err == nil {
			s, err = sbom.Read(text)
		}
		if err != nil {
			in.add("sbom", Fail, in.root.name, "%s: %v", full, err)
			continue
		}
		in.Root.Bills = append(in.Root.Bills, Bill{full, s.Format, s.ID, len(s.Components)})
		var ids []string
		var packages []Package
		for _, c := range s.Components {
			ids = append(ids, c.Name+" "+c.Version)
			if strings.HasPrefix(c.PURL, "pkg:deb/") {
				packages = append(packages, Package{c.Name, c.Version})
			}
		}
		slices.Sort(ids)
		switch {
		case s.Name != in.Root.ImageID || s.Version != in.Root.Version:
			in.add("sbom", Fail, in.root.name, "%s is about %s %s, and the image is %s %s", full, s.Name, s.Version, in.Root.ImageID, in.Root.Version)
		case first != nil && !slices.Equal(first, ids):
			in.add("sbom", Fail, in.root.name, "%s has other components than %s", full, in.Root.Bills[0].Path)
		default:
			in.add("sbom", Pass, in.root.name, "%s: %s, %d components", full, s.Format, len(s.Components))
		}
		if first == nil {
			first = ids
		}
		if in.Root.PackagesBy == "" {
			in.Root.Packages, in.Root.PackagesBy = packages, full
		}
	}
}
