package host

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Virtualization implements Host. systemd has looked at CPUID, DMI and its own environment when it started, with
// the rights of PID 1; its answer is taken instead of a second opinion.
func (l *LiveHost) Virtualization(ctx context.Context) (string, error) {
	return l.virtualization.get(func() (string, error) { return l.systemd.virtualization(ctx) })
}

func (s *systemd) virtualization(ctx context.Context) (string, error) {
	conn, err := s.connect(ctx)
	if err != nil {
		return "", err
	}
	value, err := conn.GetManagerProperty("Virtualization") // in the text form of D-Bus: with quotes
	if err != nil {
		return "", fmt.Errorf("cannot read what systemd runs in: %w", err)
	}
	return strings.Trim(value, `"`), nil
}

// Virtualization answers ErrNotRunning.
func (*RootTree) Virtualization(context.Context) (string, error) { return "", ErrNotRunning }

// Virtualization implements Host.
func (r *Recorder) Virtualization(ctx context.Context) (string, error) {
	return recorded(r, "Virtualization", "", func() (string, error) { return r.host.Virtualization(ctx) })
}

// Virtualization implements Host.
func (r *Recording) Virtualization(context.Context) (string, error) {
	return replayed[string](r, "Virtualization", "")
}

// containers are systemd's words for containers; every other word is a virtual machine.
var containers = []string{
	"systemd-nspawn", "lxc-libvirt", "lxc", "openvz", "docker", "podman", "rkt", "wsl", "proot", "pouch", "container-other",
}

// Tier folds the answer of Virtualization into the tiers of the hardening guide: "metal", "vm" or "container".
func Tier(virtualization string) string {
	switch {
	case virtualization == "":
		return "metal"
	case slices.Contains(containers, virtualization):
		return "container"
	}
	return "vm"
}
