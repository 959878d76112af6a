package harden

import (
	"log/slog"

	"github.com/strongroom/strongroom/internal/distribution"
	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/overlay"
)

// Spec says what a machine is hardened to.
type Spec struct {
	// Overlay renders the hardening for the distribution that the machine turns out to be.
	Overlay func(distribution.Distribution) (*overlay.Tree, error)
	// Programs are installed with mode 0711, owned by root.
	Programs []image.Binary
	// Accounts are those that the overlay makes by sysusers.d.
	Accounts []string
	// Name and Version go into os-release.
	Name, Version string

	// Execute is the command line that runs a script as root; asRoot says that the connection's user is root.
	Execute func(script string, asRoot bool) (string, error)
	// Folder is where uploads go, "" for the first of some that is there.
	Folder string
	// Log takes a record of level Info for each step, and what the machine says at level Debug.
	Log *slog.Logger
}

// Result is a hardened machine.
type Result struct {
	Distribution distribution.Distribution
	Report       []byte   // what hostcheck says of the rehearsed shutdown, JSON
	Changed      []string // what was changed on the machine, in order; empty when it had everything
	Digest       string   // SHA-256 of what is managed on the machine: types, modes, owners and content of the files
}

// Failure is an error with the state that it leaves the machine in.
type Failure struct {
	Err   error
	State string // a sentence
}

func (f *Failure) Error() string { return f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }

// States that a failure leaves.
const (
	stateUntouched = "nothing was changed on the machine"
	statePackages  = "packages may have been installed on the machine; it lets its users in as before, after a reboot too"
	stateFiles     = "the hardening is on the machine in part or in whole, and its activation is not armed: the machine lets its users in as before, after a reboot too, and its gate stays closed (ssh-absent)"
	stateArmed     = "the activation may be armed: after a shutdown or reboot nobody can log in"
)
