package resource

import (
	"context"
	"fmt"
	"strconv"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// Clock states that the kernel's clock is disciplined, and how wrong it may be at most.
type Clock struct {
	MaxErrorMS string `yaml:"max_error_ms" json:"max_error_ms"` // milliseconds
}

func (c *Clock) Key() control.Key { return control.Key{Kind: "clock", Name: "synchronised"} }

func (c *Clock) Validate() error {
	var r require
	n, err := strconv.Atoi(c.MaxErrorMS)
	// From 16 seconds on the kernel calls the clock unsynchronised by itself.
	r.that(err == nil && n >= 1 && n <= 16000, "max_error_ms %q is not a number from 1 to 16000", c.MaxErrorMS)
	return r.err()
}

func (c *Clock) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

func (c *Clock) Verify(_ context.Context, h host.Host, stage control.Stage) []control.Observation {
	if !stage.Runs() {
		return nil
	}
	o := effective(c.Key())
	clock, err := h.Clock()
	if err != nil {
		o.unknown("adjtimex status", "synchronised", err)
		return o.out
	}
	o.equal("adjtimex status", "synchronised", map[bool]string{true: "synchronised", false: "not synchronised"}[clock.Synchronised])
	limit, _ := strconv.ParseInt(c.MaxErrorMS, 10, 64)
	o.judge("adjtimex maxerror", fmt.Sprintf("at most %d ms", limit), fmt.Sprintf("%.1f ms", float64(clock.MaxErrorMicroseconds)/1000),
		clock.MaxErrorMicroseconds <= limit*1000)
	return o.out
}
