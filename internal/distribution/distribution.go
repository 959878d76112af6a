// Package distribution holds what differs between the distributions that a node can stand on: names of packages and
// units, places of files, and what a machine of theirs runs before anybody hardens it. The catalogue and the provisioner
// read the same table.
package distribution

import (
	"fmt"
	"slices"
	"strings"
)

// Layouts of a node.
const (
	Sealed    = "sealed"    // we own disk and boot chain: verity, a unified kernel image, no package manager
	Installed = "installed" // somebody else's installer or builder made the disk; boot loader, initrd and packages are the distribution's
)

// Layouts lists them.
var Layouts = []string{Sealed, Installed}

// Family is the kin of a distribution: what its packages are called and how its machines are managed.
type Family string

// Families.
const (
	Debian Family = "debian" // Debian and Ubuntu: apt, AppArmor, update-grub
	RHEL   Family = "rhel"   // RHEL, Rocky Linux, AlmaLinux, Oracle Linux: dnf, SELinux, grubby
)

// Families lists them.
var Families = []string{string(Debian), string(RHEL)}

// Distribution is one release of one distribution.
type Distribution struct {
	ID      string // "debian/trixie", as in a profile
	Name    string // as people write it
	Family  Family
	Layouts []string // in which layouts a node can stand on it

	// os-release(5) of a machine: ID is one of ReleaseIDs, and VERSION_ID is Version or begins with it and a dot.
	ReleaseIDs []string
	Version    string

	Packages Packages
	Boot     Boot
	System   System
	Tenants  Tenants
}

// Packages are those of a machine of layout installed.
type Packages struct {
	// Needed are installed before the overlay: without them a control cannot hold.
	Needed []string
	// Compilers are needed while the machine is hardened and may stay: nothing that they bring runs by itself.
	Compilers []string
	// Forbidden are removed: each brings a program or a service that a control wants absent. One that is not installed is
	// passed over.
	Forbidden []string
	// Session is what the builder's own connection stands on. It is removed at the shutdown that ends the build, never before.
	Session []string
}

// Boot is how the kernel gets its command line, and how that is changed: see docs/installed.md.
type Boot struct {
	// DropIn is a file that is read by the command, and that the overlay carries. Empty: there is none, and the arguments are
	// given to the command itself.
	DropIn string
	// Command makes the boot loader pass the arguments below /usr/lib/strongroom/cmdline.d. It runs after the overlay was
	// unpacked. ${ARGUMENTS} stands for all of them, separated by spaces.
	Command []string
}

// System is where a control finds things.
type System struct {
	ChronyUnit   string
	ChronyConfig string
	ChronyDrift  string
	// ShadowMode and ShadowGroup are those of /etc/shadow and /etc/gshadow as the distribution's own tools write them.
	ShadowMode  string
	ShadowGroup string
	// Network manages the interfaces: "systemd-networkd" or "NetworkManager".
	Network string
}

// Tenants are those whom a machine of the distribution brings, and whom the catalogue allows.
type Tenants struct {
	Units    []string // may be in any state; templates stand for all their instances
	Accounts []string
	Groups   []string // may have members: accounts of packages, in groups that make nobody root
}

// All lists the distributions, the default of each layout first. It is no variable: hostcheck, which links this package and never
// asks, would carry the table.
func All() []Distribution { return []Distribution{trixie(), bookworm(), noble(), rhel10(), rhel9()} }

// IDs lists the distributions of a layout.
func IDs(layout string) []string {
	var out []string
	for _, d := range All() {
		if slices.Contains(d.Layouts, layout) {
			out = append(out, d.ID)
		}
	}
	return out
}

// Find gives a distribution of a layout. The error says what the layout can stand on, and what else is possible.
func Find(layout, id string) (Distribution, error) {
	if !slices.Contains(Layouts, layout) {
		return Distribution{}, fmt.Errorf("layout %q is not one of %s", layout, strings.Join(Layouts, ", "))
	}
	known := strings.Join(IDs(layout), ", ")
	all := All()
	i := slices.IndexFunc(all, func(d Distribution) bool { return d.ID == id })
	switch {
	case i < 0:
		return Distribution{}, fmt.Errorf("distribution %q is not one of %s", id, known)
	case !slices.Contains(all[i].Layouts, layout):
		return Distribution{}, fmt.Errorf("layout %q does not stand on distribution %q: give it one of %s, or harden a machine of %s with layout %q",
			layout, id, known, all[i].Name, all[i].Layouts[0])
	}
	return all[i], nil
}

// FamilyOf gives the family of a distribution, "" for one that is not known.
func FamilyOf(id string) Family {
	for _, d := range All() {
		if d.ID == id {
			return d.Family
		}
	}
	return ""
}

// Words are what a catalogue may write as ${distribution.chrony_unit} in place of a distribution's own name.
func (d Distribution) Words() map[string]string {
	return map[string]string{
		"distribution.name": d.Name, "distribution.chrony_unit": d.System.ChronyUnit, "distribution.chrony_config": d.System.ChronyConfig,
		"distribution.chrony_drift": d.System.ChronyDrift, "distribution.shadow_mode": d.System.ShadowMode,
		"distribution.shadow_group": d.System.ShadowGroup,
		"distribution.boot_file":    d.Boot.DropIn,
	}
}

// Lists are what a catalogue may write as an item of a list, where it becomes as many items as it has entries. The sealed
// layout has none of the tenants of an installed machine.
func (d Distribution) Lists(layout string) map[string][]string {
	var tenants Tenants
	if layout == Installed {
		tenants = d.Tenants
	}
	return map[string][]string{"distribution.units": tenants.Units, "distribution.accounts": tenants.Accounts, "distribution.groups": tenants.Groups}
}
