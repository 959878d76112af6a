package sbom

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx"
	"github.com/spdx/tools-golang/spdxlib"
)

// Summary is what a bill says, whatever its format and whoever has written it.
type Summary struct {
	Format     string      `json:"format"` // "SPDX-2.3", "CycloneDX 1.6"
	ID         string      `json:"id"`     // namespace or serial number
	Name       string      `json:"name"`   // of what the bill is about
	Version    string      `json:"version,omitempty"`
	Created    string      `json:"created"` // RFC 3339
	Components []Component `json:"components"`
}

// Component is one entry of a bill.
type Component struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	PURL    string `json:"purl,omitempty"`
	License string `json:"license,omitempty"` // an expression of SPDX; "" when nothing is said
	SHA256  string `json:"sha256,omitempty"`
}

// Read reads a bill of either format by the format's own library.
func Read(text []byte) (Summary, error) {
	var head struct {
		SPDX string `json:"spdxVersion"`
		CDX  string `json:"bomFormat"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return Summary{}, fmt.Errorf("cannot read the bill of materials: %w", err)
	}
	read := readSPDX
	switch {
	case head.CDX == cdx.BOMFormat:
		read = readCycloneDX
	case !strings.HasPrefix(head.SPDX, "SPDX-2."):
		return Summary{}, errors.New("cannot read the bill of materials: it is neither SPDX 2 nor CycloneDX")
	}
	s, err := read(text)
	if err != nil {
		return Summary{}, fmt.Errorf("cannot read the bill of materials: %w", err)
	}
	slices.SortFunc(s.Components, func(a, b Component) int {
		return strings.Compare(a.PURL+"\x00"+a.Name+"\x00"+a.Version, b.PURL+"\x00"+b.Name+"\x00"+b.Version)
	})
	return s, nil
}

func readSPDX(text []byte) (s Summary, err error) {
	defer func() { // the library follows pointers that a document can leave null
		if p := recover(); p != nil {
			err = fmt.Errorf("a part of it is missing: %v", p)
		}
	}()
	doc, err := spdxjson.Read(bytes.NewReader(text))
	if err != nil {
		return Summary{}, err
	}
	if err := spdxlib.ValidateDocument(doc); err != nil {
		return Summary{}, err
	}
	described, err := spdxlib.GetDescribedPackageIDs(doc)
	if err != nil {
		return Summary{}, err
	}
	s = Summary{Format: doc.SPDXVersion, ID: doc.DocumentNamespace, Name: doc.DocumentName, Created: doc.CreationInfo.Created}
	for _, p := range doc.Packages {
		if slices.Contains(described, p.PackageSPDXIdentifier) {
			s.Name, s.Version = p.PackageName, p.PackageVersion
			continue
		}
		s.Components = append(s.Components, componentOfSPDX(p))
	}
	return s, nil
}

func componentOfSPDX(p *spdx.Package) Component {
	c := Component{Name: p.PackageName, Version: p.PackageVersion}
	if p.PackageLicenseDeclared != noAssertion {
		c.License = p.PackageLicenseDeclared
	}
	for _, r := range p.PackageExternalReferences {
		if r != nil && r.RefType == "purl" {
			c.PURL = r.Locator
		}
	}
	for _, sum := range p.PackageChecksums {
		if sum.Algorithm == "SHA256" {
			c.SHA256 = sum.Value
		}
	}
	return c
}

func readCycloneDX(text []byte) (Summary, error) {
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(text), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		return Summary{}, err
	}
	s := Summary{Format: cdx.BOMFormat + " " + bom.SpecVersion.String(), ID: bom.SerialNumber}
	if m := bom.Metadata; m != nil {
		s.Created = m.Timestamp
		if m.Component != nil {
			s.Name, s.Version = m.Component.Name, m.Component.Version
		}
	}
	if bom.Components == nil {
		return s, nil
	}
	for _, from := range *bom.Components {
		c := Component{Name: from.Name, Version: from.Version, PURL: from.PackageURL}
		if from.Licenses != nil && len(*from.Licenses) == 1 {
			c.License = (*from.Licenses)[0].Expression
		}
		if from.Hashes != nil {
			for _, h := range *from.Hashes {
				if h.Algorithm == cdx.HashAlgoSHA256 {
					c.SHA256 = h.Value
				}
			}
		}
		s.Components = append(s.Components, c)
	}
	return s, nil
}
