package lab

import (
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

// What QEMU inherits, in the order of exec.Cmd.ExtraFiles.
const (
	monitorDescriptor = "3"
	networkDescriptor = "4"
	tpmDescriptor     = "5"
)

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
	code, machine := firmwareCode, "q35,smbios-entry-point-type=64"
	if m.config.SecureBoot != nil {
		code, machine = firmwareCodeSecure, machine+",smm=on"
	}
	if content, err = m.config.firmwareState(content); err != nil {
		return nil, fmt.Errorf("cannot set up the firmware: %w", err)
	}
	if err := os.WriteFile(variables, content, 0o600); err != nil {
		return nil, fmt.Errorf("cannot copy the firmware variables: %w", err)
	}
	arguments := []string{
		"-nodefaults", "-no-user-config", "-display", "none",
		// smbios-entry-point-type=64: the older entry point has 64 KiB for all tables, less
		// than a few certificate chains.
		"-machine", machine,
		"-m", strconv.Itoa(m.config.MemoryMiB),
		"-uuid", m.config.UUID,
		"-no-reboot", // a guest that resets ends, so that a panic is seen
		"-S",         // the monitor starts the processors
		"-chardev", "socket,id=monitor,fd=" + monitorDescriptor, "-mon", "chardev=monitor,mode=control",
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
		"-netdev", "stream,id=net,addr.type=fd,addr.str=" + networkDescriptor,
		"-device", m.networkCard(),
		"-device", "virtio-rng-pci",
	}
	if !m.config.BIOS {
		arguments = append(arguments, "-drive", "if=pflash,format=raw,unit=0,readonly=on,file="+code,
			"-drive", "if=pflash,format=raw,unit=1,file="+escape(variables))
	}
	if m.config.HTTPBoot {
		// It would try PXE first, and has minutes of patience for a server that does not answer.
		for _, way := range []string{"IPv4PXESupport", "IPv6PXESupport"} {
			arguments = append(arguments, "-fw_cfg", "name=opt/org.tianocore/"+way+",string=no")
		}
	}
	for i, disk := range append([]*Disk{m.config.Disk}, m.config.Extra...) {
		if disk == nil {
			continue
		}
		serial := ""
		if disk.Serial != "" {
			serial = ",serial=" + escape(disk.Serial)
		}
		slot := ""
		if i == 0 && m.config.LoaderArguments != "" {
			slot = fmt.Sprintf(",addr=%#x", diskSlot)
		}
		// What QEMU hands to the firmware has the first place in its order.
		place := i
		if m.config.Kernel != nil {
			place++
		}
		// cache=unsafe: the disk is thrown away; a flush of the guest need not reach the host's disk.
		arguments = append(arguments,
			"-drive", fmt.Sprintf("if=none,id=disk%d,format=qcow2,cache=unsafe,discard=unmap,file=%s", i, escape(disk.Path)),
			"-device", fmt.Sprintf("virtio-blk-pci,drive=disk%d,bootindex=%d%s%s", i, place, serial, slot))
	}
	if k := m.config.Kernel; k != nil {
		arguments = append(arguments, "-kernel", k.Image, "-initrd", k.Initrd, "-append", k.Arguments)
	}
	if m.config.SecureBoot != nil {
		arguments = append(arguments, "-global", "driver=cfi.pflash01,property=secure,value=on") // only the firmware writes its variables
	}
	if m.config.TPM != nil {
		arguments = append(arguments, tpmArguments()...)
	}
	arguments = append(arguments, processorArguments(kvmUsable(), m.config.CPUs)...)
	for _, text := range m.config.OEMStrings {
		arguments = append(arguments, "-smbios", "type=11,value="+escape(text))
	}
	credentials, err := smbiosArguments(m.dir, m.config.Credentials)
	return append(arguments, credentials...), err
}

// networkCard is that of the machine. Without a ROM no firmware starts from it but UEFI, which has a driver of its own.
func (m *Machine) networkCard() string {
	card := "virtio-net-pci,netdev=net,mac=" + m.lease.MAC.String()
	if !m.config.BIOS {
		card += ",romfile="
	}
	if m.config.Disk == nil {
		card += ",bootindex=0"
	}
	return card
}

// escape protects the commas of a path inside a QEMU option.
func escape(path string) string { return strings.ReplaceAll(path, ",", ",,") }
