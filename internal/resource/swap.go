package resource

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// Swap states that nothing pages memory out to a device or file. It has no fields: there is one
// acceptable amount of swap.
type Swap struct{}

func (s *Swap) Key() control.Key { return control.Key{Kind: "swap", Name: "none"} }

func (s *Swap) Validate() error { return nil }

// Render masks swap.target. That alone does not stop a .swap unit of its own; verity and the
// check below do.
func (s *Swap) Render(control.Profile) ([]overlay.Fragment, error) {
	return []overlay.Fragment{overlay.Symlink("/etc/systemd/system/swap.target", "/dev/null")}, nil
}

func (s *Swap) Verify(ctx context.Context, h host.Host, stage control.Stage) []control.Observation {
	disk := onDisk(s.Key())
	fstab, err := h.ReadFile("/etc/fstab")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		disk.judge("/etc/fstab", "no swap entry", "no such file", true)
	case err != nil:
		disk.unknown("/etc/fstab", "no swap entry", err)
	default:
		got := "no swap entry"
		for line := range strings.Lines(string(fstab)) {
			if f := strings.Fields(line); len(f) >= 3 && f[0][0] != '#' && f[2] == "swap" {
				got = strings.TrimSpace(line)
			}
		}
		disk.equal("/etc/fstab", "no swap entry", got)
	}
	if !stage.Runs() {
		return disk.out
	}

	live := effective(s.Key())
	swaps, err := h.Swaps()
	if err != nil {
		live.unknown("/proc/swaps", "none", err)
	} else {
		got := "none"
		if len(swaps) > 0 {
			var names []string
			for _, sw := range swaps {
				names = append(names, fmt.Sprintf("%s (%s, %d KiB)", sw.Device, sw.Type, sw.SizeKB))
			}
			got = strings.Join(names, ", ")
		}
		live.equal("/proc/swaps", "none", got)
	}

	// A swap unit that is loaded but not yet active may page out after the gate has looked.
	const source = "org.freedesktop.systemd1 ListUnits *.swap"
	units, err := h.Units(ctx)
	if err != nil {
		live.unknown(source, "none", err)
		return append(disk.out, live.out...)
	}
	got := "none"
	var loaded []string
	for _, u := range units {
		if strings.HasSuffix(u.Name, ".swap") && u.LoadState == "loaded" {
			loaded = append(loaded, u.Name+" "+u.ActiveState)
		}
	}
	if len(loaded) > 0 {
		got = strings.Join(loaded, ", ")
	}
	live.equal(source, "none", got)
	return append(disk.out, live.out...)
}
