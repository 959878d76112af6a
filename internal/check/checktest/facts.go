package checktest

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
)

// Fact is one question to a host: a method of host.Host with its argument.
type Fact struct{ Method, Argument string }

func (f Fact) String() string { return f.Method + "(" + f.Argument + ")" }

// Answer is what a host says to it.
type Answer struct {
	Value any
	Err   error
}

// Facts judges one control of a baseline alone, and gives what it asked the host with the answers.
func Facts(ctx context.Context, b *baseline.Baseline, c control.Control, h host.Host, stage control.Stage) (check.ControlResult, map[Fact]Answer) {
	var mu sync.Mutex
	asked := map[Fact]Answer{}
	r := check.One(ctx, b, c, host.Tapped(h, func(method, argument string, value any, err error) (any, error) {
		mu.Lock()
		defer mu.Unlock()
		asked[Fact{method, argument}] = Answer{value, err}
		return value, err
	}), stage)
	return r, asked
}

// Replace is a host that answers as h does, but for some facts.
func Replace(h host.Host, answers map[Fact]Answer) host.Host {
	return host.Tapped(h, func(method, argument string, value any, err error) (any, error) {
		if a, ok := answers[Fact{method, argument}]; ok {
			return a.Value, a.Err
		}
		return value, err
	})
}

// SortedFacts lists facts by method and argument.
func SortedFacts(facts map[Fact]Answer) []Fact {
	var out []Fact
	for f := range facts {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b Fact) int {
		return cmp.Or(strings.Compare(a.Method, b.Method), strings.Compare(a.Argument, b.Argument))
	})
	return out
}
