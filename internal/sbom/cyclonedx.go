package sbom

import (
	"bytes"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/uuid"
)

func writeCycloneDX(w *bytes.Buffer, b Bill, id uuid.UUID) error {
	const root = "image"
	bom := cdx.NewBOM()
	bom.SerialNumber = id.URN()
	bom.Metadata = &cdx.Metadata{
		Timestamp: b.Created.UTC().Format(time.RFC3339),
		Tools:     &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: creator}}},
		Component: &cdx.Component{BOMRef: root, Type: cdx.ComponentTypeOS, Name: b.Name, Version: b.Version},
	}
	var components []cdx.Component
	var contained []string
	var dependencies []cdx.Dependency
	for _, p := range b.Packages {
		url := b.packageURL(p)
		c := cdx.Component{
			BOMRef: url, Type: cdx.ComponentTypeLibrary, Name: p.Name, Version: p.Version, PackageURL: url, Scope: cdx.ScopeRequired,
			Supplier:   &cdx.OrganizationalEntity{Name: b.supplier()},
			Properties: &[]cdx.Property{{Name: "strongroom:source", Value: p.Source}, {Name: "strongroom:source_version", Value: p.SourceVersion}},
		}
		if p.Tool {
			c.Scope = cdx.ScopeExcluded
		} else {
			contained = append(contained, c.BOMRef)
		}
		if p.License != nil {
			c.Licenses = &cdx.Licenses{{Expression: p.License.Expression}}
		}
		components = append(components, c)
	}
	for _, m := range b.modules() {
		url := m.packageURL()
		components = append(components, cdx.Component{BOMRef: url, Type: cdx.ComponentTypeLibrary, Name: m.Path, Version: m.Version, PackageURL: url})
	}
	for _, p := range b.Programs {
		c := cdx.Component{
			BOMRef: "program:" + p.Path, Type: cdx.ComponentTypeApplication, Name: p.base(), Version: p.Main.Version,
			Hashes:     &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: p.SHA256}},
			Properties: &[]cdx.Property{{Name: "strongroom:path", Value: p.Path}},
		}
		if p.Main.Path != "" {
			c.PackageURL = p.Main.packageURL()
		}
		components, contained = append(components, c), append(contained, c.BOMRef)
		var modules []string
		for _, m := range p.Modules {
			modules = append(modules, m.packageURL())
		}
		if modules != nil {
			dependencies = append(dependencies, cdx.Dependency{Ref: c.BOMRef, Dependencies: &modules})
		}
	}
	dependencies = append([]cdx.Dependency{{Ref: root, Dependencies: &contained}}, dependencies...)
	bom.Components, bom.Dependencies = &components, &dependencies
	return cdx.NewBOMEncoder(w, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).EncodeVersion(bom, cdx.SpecVersion1_6)
}
