// Probe is an init for tests: it writes to the serial console what it finds of the command line and of the TPM, and switches
// the machine off.
package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

func main() {
	console, err := os.OpenFile("/dev/ttyS0", os.O_WRONLY, 0)
	if err != nil {
		console = os.Stdout
	}
	for path, kind := range map[string]string{"/proc": "proc", "/sys": "sysfs"} {
		if err := os.MkdirAll(path, 0o755); err != nil {
			fmt.Fprintln(console, err)
		}
		if err := syscall.Mount(kind, path, kind, 0, ""); err != nil {
			fmt.Fprintln(console, err)
		}
	}
	say := func(what, path string) {
		content, err := os.ReadFile(path)
		if err != nil {
			fmt.Fprintln(console, err)
			return
		}
		fmt.Fprintf(console, "PROBE %s %s\n", what, strings.TrimSpace(string(content)))
	}
	say("cmdline", "/proc/cmdline")
	for _, i := range []int{4, 7, 11, 12} {
		say(fmt.Sprintf("pcr%d", i), fmt.Sprintf("/sys/class/tpm/tpm0/pcr-sha256/%d", i))
	}
	fmt.Fprintln(console, "PROBE end")
	syscall.Sync()
	syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
}
