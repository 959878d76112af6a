package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// UEFI firmware, from Debian's package ovmf: the code is shared and read-only, the variables
// are written by the guest and so copied for each machine.
const (
	firmwareCode      = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	firmwareVariables = "/usr/share/OVMF/OVMF_VARS_4M.fd"
)

func (m *Machine) socket() string { return filepath.Join(m.dir, "monitor") }

// packets is where QEMU records what crosses the virtual network card.
func (m *Machine) packets() string { return filepath.Join(m.dir, "packets.pcap") }

// arguments writes what the machine needs into its directory and composes the command line.
func (m *Machine) arguments() ([]string, error) {
	variables := filepath.Join(m.dir, "variables.fd")
	content, err := os.ReadFile(firmwareVariables)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no UEFI firmware at %s\nhint: install what is missing with `make deps`", firmwareVariables)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the UEFI firmware: %w", err)
	}
	if err := os.WriteFile(variables, content, 0o600); err != nil {
		return nil, fmt.Errorf("cannot copy the firmware variables: %w", err)
	}
	// restrict: the guest reaches neither the host nor anything behind it, so a proof depends
	// on no outside service; DHCP and the forwards below still work.
	network := "user,id=net,restrict=on"
	for _, port := range m.config.Forwards {
		// Host port 0: the kernel picks a free one, and readForwards asks QEMU which.
		network += fmt.Sprintf(",hostfwd=tcp:127.0.0.1:0-:%d", port)
	}
	arguments := []string{
		"-nodefaults", "-no-user-config", "-display", "none",
		// smbios-entry-point-type=64: the older entry point has 64 KiB for all tables, less
		// than a few certificate chains.
		"-machine", "q35,smbios-entry-point-type=64",
		"-m", strconv.Itoa(m.config.MemoryMiB),
		"-uuid", m.config.UUID,
		"-no-reboot", // a guest that resets ends, so that a panic is seen
		"-S",         // the monitor starts the processors
		"-qmp", "unix:" + m.socket() + ",server=on,wait=off",
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
		"-drive", "if=pflash,format=raw,unit=0,readonly=on,file=" + firmwareCode,
		"-drive", "if=pflash,format=raw,unit=1,file=" + escape(variables),
		"-netdev", network,
		"-object", "filter-dump,id=packets,netdev=net,maxlen=128,file=" + m.packets(),
		"-device", "virtio-net-pci,netdev=net,romfile=", // no network boot
		"-device", "virtio-rng-pci",
	}
	for i, disk := range append([]*Disk{m.config.Disk}, m.config.Extra...) {
		// cache=unsafe: the disk is thrown away; a flush of the guest need not reach the host's disk.
		arguments = append(arguments,
			"-drive", fmt.Sprintf("if=none,id=disk%d,format=qcow2,cache=unsafe,discard=unmap,file=%s", i, escape(disk.Path)),
			"-device", fmt.Sprintf("virtio-blk-pci,drive=disk%d,bootindex=%d", i, i))
	}
	arguments = append(arguments, processorArguments(kvmUsable(), m.config.CPUs)...)
	credentials, err := smbiosArguments(m.dir, m.config.Credentials)
	return append(arguments, credentials...), err
}

// escape protects the commas of a path inside a QEMU option.
func escape(path string) string { return strings.ReplaceAll(path, ",", ",,") }

// readForwards asks QEMU which host port leads to which guest port.
func (m *Machine) readForwards(ctx context.Context) (map[int]int, error) {
	text, err := m.monitor.human(ctx, "info usernet")
	if err != nil {
		return nil, err
	}
	forwards := parseForwards(text)
	for _, port := range m.config.Forwards {
		if forwards[port] == 0 {
			return nil, fmt.Errorf("QEMU does not forward guest port %d", port)
		}
	}
	return forwards, nil
}

// parseForwards reads the rows of `info usernet` that are forwards. There is no QMP command
// that tells them.
//
//	Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
//	TCP[HOST_FORWARD]  13       127.0.0.1 43210       10.0.2.15  8200     0     0
func parseForwards(text string) map[int]int {
	forwards := map[int]int{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[0] != "TCP[HOST_FORWARD]" {
			continue
		}
		host, err1 := strconv.Atoi(fields[3])
		guest, err2 := strconv.Atoi(fields[5])
		if err1 == nil && err2 == nil {
			forwards[guest] = host
		}
	}
	return forwards
}
