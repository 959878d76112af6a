package plugin

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
)

func TestUIHandler(t *testing.T) {
	var said, failed bytes.Buffer
	log := slog.New(newUIHandler(&packersdk.BasicUi{Writer: &said, ErrorWriter: &failed}))
	log.Debug("tool output, for Packer's log only")
	log.Info("base tree", "seconds", "1.10")
	log.With("distribution", "debian/trixie").Info("installing packages", "count", 12)
	log.Warn("working on disk", "error", errors.New("no memory"))
	if got, want := said.String(), "base tree: 1.10 s\ninstalling packages distribution=debian/trixie count=12\n"; got != want {
		t.Errorf("said %q, want %q", got, want)
	}
	if got, want := failed.String(), "working on disk error=no memory\n"; got != want {
		t.Errorf("warned %q, want %q", got, want)
	}
}
