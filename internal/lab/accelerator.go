package lab

import (
	"bytes"
	"os"
	"strconv"
)

// processorArguments chooses hardware virtualisation where it works, emulation elsewhere.
func processorArguments(kvm bool, cpus int) []string {
	if kvm {
		return []string{"-accel", "kvm", "-cpu", "host", "-smp", strconv.Itoa(cpus)}
	}
	// -cx16: Linux 6.12 with cmpxchg16b oopses in the page allocator when QEMU 7.2 emulates
	// it; without the flag the kernel takes the path that does not need it.
	// One processor, whatever was asked for: Linux patches its own code while other processors
	// run it, behind a breakpoint, and QEMU 7.2 lets an emulated one run into a breakpoint that
	// has been taken away ("Oops: int3"). That is rare, but a panic that nobody meant would make
	// a test of a good image fail, and a test of a corrupt one pass. It costs a third of the boot time.
	return []string{"-accel", "tcg", "-cpu", "max,-cx16", "-smp", "1"}
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
