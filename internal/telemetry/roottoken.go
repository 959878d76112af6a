package telemetry

import (
	"fmt"
	"strconv"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
)

// RootToken is a request with a root token, or the making of one. Nothing of it is secret.
type RootToken struct {
	Made      bool
	Operation string
	Path      string
	Remote    string
	Request   string // its id in the audit log
	At        time.Time
	More      int // that this entry stands for
}

// RootToken tells that a root token was used or made, each time that it is called.
func (j *Journal) RootToken(r RootToken) error {
	message := fmt.Sprintf("a root token was used: %s %s from %s", r.Operation, r.Path, r.Remote)
	event := "used"
	if r.Made {
		message, event = fmt.Sprintf("a root token was made: %s %s from %s", r.Operation, r.Path, r.Remote), "made"
	}
	if r.More > 0 {
		message += fmt.Sprintf("; and %d more times since the last entry", r.More)
	}
	return j.send(clip(message), journal.PriCrit, map[string]string{
		"MESSAGE_ID":                 MessageRoot,
		"STRONGROOM_ROOT_TOKEN":      event,
		"STRONGROOM_ROOT_OPERATION":  r.Operation,
		"STRONGROOM_ROOT_PATH":       r.Path,
		"STRONGROOM_ROOT_REMOTE":     r.Remote,
		"STRONGROOM_ROOT_REQUEST_ID": r.Request,
		"STRONGROOM_ROOT_TIME":       r.At.UTC().Format(time.RFC3339Nano),
		"STRONGROOM_ROOT_MORE":       strconv.Itoa(r.More),
	})
}
