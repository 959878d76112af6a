// Package hardening is the catalogue: one YAML file per family of controls, embedded, so that
// image builder and documentation read the same bytes.
package hardening

import (
	"embed"

	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/systemd"
)

//go:embed *.yaml
var files embed.FS

// Load parses the catalogue together with the unit files that every image carries.
func Load() (*baseline.Catalogue, error) { return baseline.Parse(files, systemd.Files) }
