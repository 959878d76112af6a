package hardening_test

import (
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/host/hosttest"
	"github.com/strongroom/strongroom/internal/resource"
)

// installer runs on a machine that is no node yet, and has no gate. A node on which it runs is one with a stranger.
const installer = "strongroom-install.service"

// A unit that the image carries or that a control wants active may run on the node: forgotten in the list of units,
// it would close the gate of every node.
func TestEveryUnitOfTheImageIsAllowed(t *testing.T) {
	unitFile := regexp.MustCompile(`^/usr/lib/systemd/system/([^/]+\.(service|socket|timer|path|automount))$`)
	for name, b := range everyBaseline(t) {
		overlay, err := b.Overlay()
		if err != nil {
			t.Fatal(err)
		}
		active := map[string]bool{}
		for _, f := range overlay.Fragments() {
			if m := unitFile.FindStringSubmatch(f.Path); m != nil && f.Mode.IsRegular() {
				active[strings.Replace(path.Base(m[1]), "@.", "@x.", 1)] = true
			}
		}
		var units *resource.Units
		for _, c := range b.Controls {
			for _, res := range c.Resources {
				switch r := res.(type) {
				case *resource.Units:
					units = r
				case *resource.UnitState:
					if r.State == "active" && unitFile.MatchString("/usr/lib/systemd/system/"+r.Name) {
						active[r.Name] = true
					}
				}
			}
		}
		if units == nil || len(active) < 5 {
			t.Fatalf("%s: %d units, list %v", name, len(active), units)
		}
		for unit := range active {
			h := hosttest.New().SetUnits(host.UnitStatus{Name: unit, LoadState: "loaded", ActiveState: "active"})
			if obs := units.Verify(t.Context(), h, control.StageBoot); (control.Worst(obs) == control.Pass) == (unit == installer) {
				t.Errorf("%s: %s: %+v", name, unit, obs)
			}
		}
	}
}
