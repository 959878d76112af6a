package plugin

import (
	"os"
	"time"

	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/control"
)

// withSite adds the user's own controls to the catalogue.
func (c *HardeningConfig) withSite(catalogue *baseline.Catalogue, wrong *mistakes) (*baseline.Catalogue, bool) {
	files, err := baseline.ReadFiles(c.SiteControls, os.ReadFile)
	if err == nil {
		catalogue, err = catalogue.With(files...)
	}
	if err != nil {
		for _, err := range unjoin(err) {
			wrong.add("site_controls", "%w", err)
		}
		return nil, false
	}
	return catalogue, true
}

// waive adds the user's waivers to the baseline. One that has expired by this machine's clock is a mistake.
func (c *HardeningConfig) waive(b *baseline.Baseline, wrong *mistakes) {
	if c.Waivers == "" {
		return
	}
	content, err := os.ReadFile(c.Waivers)
	if err != nil {
		wrong.add("waivers", "%w", err)
		return
	}
	waivers, err := baseline.ParseWaivers(c.Waivers, content)
	if err == nil {
		err = b.Waive(waivers, control.Lapsed(time.Now()))
	}
	if err != nil {
		for _, err := range unjoin(err) {
			wrong.add("waivers", "%w", err)
		}
	}
}
