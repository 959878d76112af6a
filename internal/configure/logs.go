package configure

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/strongroom/strongroom/internal/node"
)

// logsDirectory is what strongroom-ship.service is started with: where to, and by which authorities the receiver is believed. Its certificate is the
// node's own. It is not there when node.hcl names no receiver, and then the unit does not start.
const logsDirectory = "/run/hostcheck/logs"

// checkLogs compares what node.hcl asks for with what was baked.
func (o Options) checkLogs(logs *node.Logs) error {
	switch {
	case logs == nil && o.Baked.LogShipping:
		o.Log.Warn("the image ships the journal, and node.hcl names no receiver (logs): it stays on the node")
	case logs != nil && !o.Baked.LogShipping:
		return node.Hinted(errors.New("node.hcl names a receiver for the journal, and this image has nothing that ships it"),
			"bake it with the parameter log_shipping = journal-upload, or leave the block logs out")
	case logs != nil && logs.Port() != strconv.Itoa(o.Baked.LogPort):
		return node.Hinted(fmt.Errorf("logs: the firewall lets the journal out to port %d only, and the receiver has port %s", o.Baked.LogPort, logs.Port()),
			"bake the image with the parameter log_port = "+logs.Port())
	}
	return nil
}

// writeLogs replaces what the shipper is started with.
func (o Options) writeLogs(root owner, logs *node.Logs, ca []byte) error {
	if logs == nil {
		return os.RemoveAll(o.path(logsDirectory))
	}
	return root.fileset(o.path(logsDirectory), 0o700, 0o600, logsFiles(logs, ca))
}

func logsFiles(logs *node.Logs, ca []byte) map[string][]byte {
	return map[string][]byte{"receiver": []byte("RECEIVER=" + logs.Receiver + "\n"), "ca.crt": ca}
}
