package lab

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
)

func TestScan(t *testing.T) {
	dial := func(ctx context.Context, port int) (net.Conn, error) {
		switch {
		case port == 8200 || port == 9810:
			end, other := net.Pipe()
			other.Close()
			return end, nil
		case port < 100:
			return nil, errors.New("connect tcp 10.0.2.65:22: connection was refused")
		default:
			<-ctx.Done()
			return nil, ctx.Err()
		}
	}
	found, err := scan(t.Context(), dial, []int{9810, 22, 21, 8200, 443})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(found.Open, []int{8200, 9810}) || !slices.Equal(found.Closed, []int{21, 22}) || !slices.Equal(found.Filtered, []int{443}) {
		t.Errorf("found %+v", found)
	}
	unreachable := func(context.Context, int) (net.Conn, error) { return nil, errors.New("no route to host") }
	if found, err := scan(t.Context(), unreachable, []int{22}); err == nil {
		t.Errorf("a machine that is not there passes for %+v", found)
	}
}
