package resource

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// ProcessSecrets states that no process of the host was started with a secret where others can read it: in a
// variable whose name says so, or anywhere in its environment or command line by its shape. The host tells names
// and positions, and never a value.
type ProcessSecrets struct {
	Variables []string `yaml:"variables" json:"variables"`
}

func (s *ProcessSecrets) Key() control.Key { return control.Key{Kind: "process_secrets", Name: "none"} }

func (s *ProcessSecrets) Validate() error {
	var r require
	r.that(len(s.Variables) > 0, "no variables")
	for _, v := range s.Variables {
		r.that(variableName.MatchString(v), "variable %q is not a name", v)
	}
	return r.err()
}

func (s *ProcessSecrets) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

func (s *ProcessSecrets) Verify(_ context.Context, h host.Host, stage control.Stage) []control.Observation {
	if !stage.Runs() {
		return nil
	}
	o := effective(s.Key())
	const source = "/proc/*/{environ,cmdline}"
	want := "no token, no unseal key, none of " + strings.Join(s.Variables, ", ")
	processes, err := h.Processes()
	if err != nil {
		o.unknown(source, want, err)
		return o.out
	}
	var found []string
	for _, p := range processes {
		who := fmt.Sprintf("process %d (%s): ", p.PID, p.Name)
		for _, name := range p.Environment {
			if slices.Contains(s.Variables, name) {
				found = append(found, who+"environment "+name)
			}
		}
		for _, where := range p.Secrets {
			found = append(found, who+where)
		}
		if p.Unreadable != "" {
			o.unknown(fmt.Sprintf("/proc/%d", p.PID), want, errors.New(p.Unreadable))
		}
	}
	o.judge(source, want, named(found, fmt.Sprintf("none in %d processes", len(processes))), len(found) == 0)
	return o.out
}
