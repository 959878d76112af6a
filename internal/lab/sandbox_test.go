//go:build boot

package lab

import (
	"strconv"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/image"
)

// bars are the most that systemd's own review may hold against a unit; docs/sandbox.md has every
// point that stays, with its reason.
var bars = map[string]float64{
	"vault.service": 1.5, "hostcheck.service": 2.8, "hostcheck-gate.service": 2.8, "hostcheck-configure.service": 2.8,
}

// TestSandboxOfTheImage asks the systemd of each image, which is not that of the machine that bakes.
func TestSandboxOfTheImage(t *testing.T) {
	for _, distribution := range image.Distributions() {
		for _, lock := range []string{"off", "on"} {
			t.Run(distribution+" memory_lock="+lock, func(t *testing.T) {
				baking.Lock()
				defer baking.Unlock()
				a, err := assemble(recipe{name: "sandbox", distribution: distribution, parameters: map[string]string{"memory_lock": lock}})
				if err != nil {
					t.Fatal(err)
				}
				defer a.Close()
				if err := a.BaseTree(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := a.ApplyOverlay(t.Context()); err != nil {
					t.Fatal(err)
				}
				for unit, bar := range bars {
					out, err := a.Command(t.Context(), "systemd-analyze", "security", "--offline=true", "--no-pager", unit).CombinedOutput()
					_, level, found := strings.Cut(string(out), "Overall exposure level for "+unit+": ")
					if err != nil || !found {
						t.Fatalf("%s: %v: %s", unit, err, out)
					}
					exposure, err := strconv.ParseFloat(strings.Fields(level)[0], 64)
					if err != nil {
						t.Fatal(err)
					}
					if exposure > bar {
						t.Errorf("%s: exposure %.1f, the bar is %.1f\n%s", unit, exposure, bar, out)
					}
					t.Logf("%s: %.1f", unit, exposure)
				}
			})
		}
	}
}
