package sbom

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx"
	"github.com/spdx/tools-golang/spdx/v2/common"
)

const noAssertion = "NOASSERTION"

// creator is the tool that the bills name. Its version is no property of the image; the statement beside the image has it.
const creator = "strongroom-imagebuild"

func writeSPDX(w *bytes.Buffer, b Bill, id uuid.UUID) error {
	root := spdxPackage("Image", b.Name, b.Version, "")
	root.PrimaryPackagePurpose = "OPERATING_SYSTEM"
	doc := &spdx.Document{
		SPDXVersion: spdx.Version, DataLicense: spdx.DataLicense, SPDXIdentifier: "DOCUMENT",
		DocumentName: b.Name + "-" + b.Version, DocumentNamespace: id.URN(),
		CreationInfo:  &spdx.CreationInfo{Creators: []common.Creator{{CreatorType: "Tool", Creator: creator}}, Created: b.Created.UTC().Format(time.RFC3339)},
		Packages:      []*spdx.Package{root},
		Relationships: []*spdx.Relationship{relate("DOCUMENT", "DESCRIBES", root.PackageSPDXIdentifier)},
	}
	named := map[string]string{}
	for _, p := range b.Packages {
		s := spdxPackage("Debian", p.Name, p.Version, b.packageURL(p))
		s.PackageSupplier = &common.Supplier{SupplierType: "Organization", Supplier: b.supplier()}
		s.PackageSourceInfo = "built from the source package " + p.Source + " " + p.SourceVersion
		if p.License != nil {
			s.PackageLicenseDeclared = p.License.Expression
			maps.Copy(named, p.License.Named)
		}
		doc.Packages = append(doc.Packages, s)
		if p.Tool {
			doc.Relationships = append(doc.Relationships, relate(s.PackageSPDXIdentifier, "BUILD_TOOL_OF", root.PackageSPDXIdentifier))
		} else {
			doc.Relationships = append(doc.Relationships, relate(root.PackageSPDXIdentifier, "CONTAINS", s.PackageSPDXIdentifier))
		}
	}
	modules := map[Module]common.ElementID{}
	for _, m := range b.modules() {
		s := spdxPackage("Go", m.Path, m.Version, m.packageURL())
		s.PrimaryPackagePurpose = "LIBRARY"
		modules[m] = s.PackageSPDXIdentifier
		doc.Packages = append(doc.Packages, s)
	}
	for _, p := range b.Programs {
		url := ""
		if p.Main.Path != "" {
			url = p.Main.packageURL()
		}
		s := spdxPackage("Program", p.base(), p.Main.Version, url)
		s.PackageFileName, s.PrimaryPackagePurpose = p.Path, "APPLICATION"
		s.PackageChecksums = []common.Checksum{{Algorithm: common.SHA256, Value: p.SHA256}}
		doc.Packages = append(doc.Packages, s)
		doc.Relationships = append(doc.Relationships, relate(root.PackageSPDXIdentifier, "CONTAINS", s.PackageSPDXIdentifier))
		for _, m := range p.Modules {
			doc.Relationships = append(doc.Relationships, relate(s.PackageSPDXIdentifier, "CONTAINS", modules[m]))
		}
	}
	for _, ref := range slices.Sorted(maps.Keys(named)) {
		doc.OtherLicenses = append(doc.OtherLicenses, &spdx.OtherLicense{
			LicenseIdentifier: ref, LicenseName: named[ref],
			ExtractedText: fmt.Sprintf("%q is the short name that the copyright file of the source package gives the licence; its text is in that file.", named[ref]),
		})
	}
	return json.Write(doc, w, json.Indent(" "), json.EscapeHTML(false))
}

// spdxPackage is a package of which no file was looked at.
func spdxPackage(kind, name, version, url string) *spdx.Package {
	p := &spdx.Package{
		PackageName: name, PackageVersion: version, PackageSPDXIdentifier: elementID(kind, name, version+url), PackageDownloadLocation: noAssertion,
		PackageLicenseConcluded: noAssertion, PackageLicenseDeclared: noAssertion, PackageCopyrightText: noAssertion,
	}
	if url != "" {
		p.PackageExternalReferences = []*spdx.PackageExternalReference{{Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL, Locator: url}}
	}
	return p
}

// elementID is readable, and unique by a digest: SPDX allows letters, digits, "." and "-".
func elementID(kind, name, unique string) common.ElementID {
	sum := sha256.Sum256([]byte(name + "\x00" + unique))
	return common.ElementID(strings.Join([]string{kind, strings.Trim(notInIdentifiers.ReplaceAllString(name, "-"), "-"), hex.EncodeToString(sum[:4])}, "-"))
}

func relate(a common.ElementID, relation string, b common.ElementID) *spdx.Relationship {
	return &spdx.Relationship{RefA: common.MakeDocElementID("", string(a)), RefB: common.MakeDocElementID("", string(b)), Relationship: relation}
}
