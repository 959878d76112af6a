package host

import (
	"context"
	"errors"
)

func readRuleset(context.Context) (Ruleset, error) { return Ruleset{}, errors.New("x") }
