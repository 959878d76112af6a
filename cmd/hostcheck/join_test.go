package main

import (
	"context"
	"errors"
	"testing"

	"github.com/strongroom/strongroom/internal/cluster"
)

func TestJoinExitCodes(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		code int
	}{
		"a member":       {nil, exitPass},
		"the gate":       {&cluster.Refusal{Kind: cluster.ByGate, Reason: "the gate is closed"}, exitGate},
		"the cluster":    {&cluster.Refusal{Kind: cluster.ByJoin, Final: true, Reason: "another seal"}, exitJoin},
		"too late":       {context.DeadlineExceeded, exitJoin},
		"something else": {errors.New("no disk"), exitJoin},
	} {
		t.Run(name, func(t *testing.T) {
			if got := code(joinExit(c.err, cluster.Status{}), false); got != c.code {
				t.Errorf("exit code %d, want %d", got, c.code)
			}
		})
	}
	for name, c := range map[string]struct {
		err  error
		code int
	}{
		// This machine has no /run/hostcheck/node.json.
		"join without a configured node":  {join(t.Context()), exitFail},
		"leave without a configured node": {leave(t.Context(), false, cluster.Retirement{}), exitFail},
		"risk without retire":             {leave(t.Context(), false, cluster.Retirement{RiskQuorum: true}), exitUsage},
	} {
		t.Run(name, func(t *testing.T) {
			if got := code(c.err, false); got != c.code {
				t.Errorf("exit code %d, want %d", got, c.code)
			}
		})
	}
}
