package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/page"
)

// name is what a person calls the machine; an image that was never booted has its image's name.
func (h Host) name() string {
	return cmp.Or(h.NodeID, h.MachineID, h.ImageID, "host")
}

// property is one fact about a run as a whole.
type property struct{ name, value string }

// facts lists what was judged, by what and against what, in the order in which a reader asks. What the
// host does not tell is left out, and what it tells is printable.
func (d *Document) facts() []property {
	all := []property{
		{"verdict", string(d.Verdict)},
		{"stage", d.Stage.String()},
		{"node-id", d.Host.NodeID},
		{"machine-id", d.Host.MachineID},
		{"image-id", d.Host.ImageID},
		{"image-version", d.Host.ImageVersion},
		{"root-hash", d.Host.RootHash},
		{"kernel", d.Host.Kernel},
		{"platform", d.Host.Platform},
		{"virtualization", d.Host.Virtualization},
		{"baseline", d.Baseline},
		{"profile", d.Profile.Server + "/" + d.Profile.Platform + ", " + d.Profile.Layout + ", " + d.Profile.Distribution},
	}
	if d.Join != nil {
		all = append(all, property{"join", d.Join.State}, property{"join-reason", d.Join.Reason}, property{"join-hint", d.Join.Hint})
	}
	if d.Source.Name != "" {
		all = append(all, property{"guide", d.Source.Name + ", revision of " + d.Source.Revision})
	}
	for _, name := range slices.Sorted(maps.Keys(d.Profile.Parameters)) {
		value := d.Profile.Parameters[name]
		if lines := strings.Count(value, "\n"); lines > 0 {
			value = fmt.Sprintf("%d lines, in the baseline", lines) // certificates
		}
		all = append(all, property{"parameter." + name, value})
	}
	all = append(all, property{"tool", d.Tool.Name + " " + d.Tool.Version})
	all = slices.DeleteFunc(all, func(p property) bool { return p.value == "" })
	for i, p := range all {
		all[i] = property{page.Printable(p.name), page.Printable(p.value)}
	}
	return all
}
