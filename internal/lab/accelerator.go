package lab

import (
	"bytes"
	"os"
)

// acceleratorArguments chooses hardware virtualisation where it works, emulation elsewhere.
func acceleratorArguments(kvm bool) []string {
	if kvm {
		return []string{"-accel", "kvm", "-cpu", "host"}
	}
	// thread=multi: one host thread for each virtual CPU; QEMU falls back to a single thread
	// on its own for some guests, and a boot then takes twice as long.
	// -cx16: Linux 6.12 with cmpxchg16b oopses in the page allocator when QEMU 7.2 emulates
	// it; without the flag the kernel takes the path that does not need it.
	return []string{"-accel", "tcg,thread=multi", "-cpu", "max,-cx16"}
}

// kvmUsable reports whether KVM can run a guest from its firmware on. Opening the device is
// not enough: inside some virtual machines (pagetable-based KVM) the device answers every
// ioctl, creates machines, and then cannot emulate the first instructions of the firmware.
// There the processor shows no virtualisation extension.
func kvmUsable() bool {
	device, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	device.Close()
	info, err := os.ReadFile("/proc/cpuinfo")
	return err == nil && hasVirtualisation(info)
}

func hasVirtualisation(cpuinfo []byte) bool {
	for line := range bytes.Lines(cpuinfo) {
		name, flags, _ := bytes.Cut(line, []byte(":"))
		if string(bytes.TrimSpace(name)) != "flags" {
			continue
		}
		for flag := range bytes.FieldsSeq(flags) {
			if s := string(flag); s == "vmx" || s == "svm" {
				return true
			}
		}
		return false // every processor of a machine has the same
	}
	return false
}
