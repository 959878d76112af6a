package agent

import "testing"

// A job is what systemd's property Job holds: a number and a path, 0 and / without one.
func TestHasJob(t *testing.T) {
	for name, c := range map[string]struct {
		properties map[string]any
		want       bool
	}{
		"a job":        {map[string]any{"Job": []any{uint32(7), "/org/freedesktop/systemd1/job/7"}}, true},
		"none":         {map[string]any{"Job": []any{uint32(0), "/"}}, false},
		"no property":  {map[string]any{}, false},
		"another type": {map[string]any{"Job": "7"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := hasJob(c.properties); got != c.want {
				t.Errorf("got %t", got)
			}
		})
	}
}
