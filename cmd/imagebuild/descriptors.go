package main

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// keepDescriptors keeps what this process has inherited beyond its standard streams from the
// programs that it starts. Packer and make leave a handful open in their children, and with them
// mmdebstrap gets descriptors of two digits, which the shell it calls cannot redirect.
func keepDescriptors() {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return // without /proc there is nothing that could be told, or baked
	}
	for _, entry := range open {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}
