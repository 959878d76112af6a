package resource

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// Sessions states that nobody is logged in, as logind and utmp know it.
type Sessions struct{}

func (s *Sessions) Key() control.Key { return control.Key{Kind: "sessions", Name: "none"} }

func (s *Sessions) Validate() error { return nil }

func (s *Sessions) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

func (s *Sessions) Verify(_ context.Context, h host.Host, stage control.Stage) []control.Observation {
	if !stage.Runs() {
		return nil
	}
	o := effective(s.Key())
	const logind = "/run/systemd/sessions"
	names, err := h.ReadDir(logind)
	switch {
	case err == nil || errors.Is(err, fs.ErrNotExist): // no directory: no logind, and no session of it
		var sessions []string
		for _, name := range names {
			if !strings.HasSuffix(name, ".ref") { // the pipe that belongs to a session
				sessions = append(sessions, name)
			}
		}
		o.judge(logind, "no session", named(sessions, "no session"), len(sessions) == 0)
	default:
		o.unknown(logind, "no session", err)
	}

	const utmp = "/run/utmp"
	content, err := h.ReadFile(utmp)
	if errors.Is(err, fs.ErrNotExist) {
		o.judge(utmp, "no user", "absent", true)
		return o.out
	}
	if err != nil {
		o.unknown(utmp, "no user", err)
		return o.out
	}
	found, err := parseUtmp(content)
	if err != nil {
		o.unknown(utmp, "no user", err)
		return o.out
	}
	o.judge(utmp, "no user", named(found, "no user"), len(found) == 0)
	return o.out
}

// parseUtmp lists the users of a utmp(5) file: entries of type USER_PROCESS. The layout is that of glibc on 64-bit
// machines, which keeps the one of 32 bits.
func parseUtmp(b []byte) ([]string, error) {
	const (
		size        = 384
		line        = 8 // after the type, padding, and the process id
		user        = 44
		length      = 32
		userProcess = 7
	)
	if len(b)%size != 0 {
		return nil, fmt.Errorf("%d bytes are no whole number of entries of %d", len(b), size)
	}
	var out []string
	for ; len(b) > 0; b = b[size:] {
		if binary.LittleEndian.Uint16(b) != userProcess {
			continue
		}
		out = append(out, fmt.Sprintf("%s on %s", field(b[user:user+length]), field(b[line:line+length])))
	}
	return out, nil
}

// field is text that ends at a zero byte, quoted where it does not print.
func field(b []byte) string {
	text, _, _ := strings.Cut(string(b), "\x00")
	quoted := fmt.Sprintf("%q", text)
	if quoted == `"`+text+`"` && text != "" {
		return text
	}
	return quoted
}
