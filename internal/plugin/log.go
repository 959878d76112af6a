package plugin

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"strings"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
)

// uiHandler shows records of level Info and above to the person who runs Packer, and writes
// the rest to Packer's log (PACKER_LOG=1).
type uiHandler struct {
	ui    packersdk.Ui
	attrs []slog.Attr
}

func newUIHandler(ui packersdk.Ui) *uiHandler { return &uiHandler{ui: ui} }

// Enabled takes every record: the level only decides where it goes.
func (*uiHandler) Enabled(context.Context, slog.Level) bool { return true }

// Handle writes one record as one line.
func (h *uiHandler) Handle(_ context.Context, r slog.Record) error {
	var line strings.Builder
	line.WriteString(r.Message)
	write := func(a slog.Attr) bool {
		if a.Key == "seconds" { // how steps say that they are done
			fmt.Fprintf(&line, ": %s s", a.Value.Resolve())
		} else {
			fmt.Fprintf(&line, " %s=%s", a.Key, a.Value.Resolve())
		}
		return true
	}
	for _, a := range h.attrs {
		write(a)
	}
	r.Attrs(write)
	switch {
	case r.Level >= slog.LevelWarn:
		h.ui.Error(line.String())
	case r.Level >= slog.LevelInfo:
		h.ui.Say(line.String())
	default:
		log.Printf("[DEBUG] %s", line.String())
	}
	return nil
}

// WithAttrs is part of slog.Handler.
func (h *uiHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &uiHandler{ui: h.ui, attrs: append(h.attrs[:len(h.attrs):len(h.attrs)], attrs...)}
}

// WithGroup is part of slog.Handler; lines for people have no groups.
func (h *uiHandler) WithGroup(string) slog.Handler { return h }
