package check

import (
	"context"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
)

// NodeIDPath is where the node's own identity is kept, on the partition for /var.
const NodeIDPath = "/var/lib/hostcheck/node-id"

// identify reads who the host is. It judges nothing, so what cannot be read is left empty.
func identify(ctx context.Context, h host.Host, stage control.Stage) Identity {
	read := func(path string) string {
		content, err := h.ReadFile(path)
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(content))
	}
	id := Identity{}
	for line := range strings.Lines(read("/usr/lib/os-release")) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.Trim(value, `"'`)
		switch key {
		case "IMAGE_ID":
			id.ImageID = value
		case "IMAGE_VERSION":
			id.ImageVersion = value
		}
	}
	if !stage.Runs() {
		return id
	}
	id.MachineID = read("/etc/machine-id")
	id.NodeID = read(NodeIDPath)
	id.Kernel = read("/proc/sys/kernel/osrelease")
	if args, err := h.KernelArguments(); err == nil {
		for _, a := range args {
			if hash, ok := strings.CutPrefix(a, "roothash="); ok {
				id.RootHash = hash
			}
		}
	}
	if v, err := h.Virtualization(ctx); err == nil {
		id.Platform, id.Virtualization = host.Tier(v), v
	}
	return id
}
