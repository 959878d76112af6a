package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Ports is what a scan found out about the TCP ports of a guest.
type Ports struct {
	Open     []int // the guest accepted a connection
	Closed   []int // the guest refused: nothing listens, and no firewall hides that
	Filtered []int // the guest was silent
}

const (
	// scanBatch keeps an emulated guest from being flooded.
	scanBatch = 200
	// The guest answers a connection within a millisecond; emulated and busy, within this time.
	patience = 3 * time.Second
)

// Scan asks the guest for a connection on each TCP port. The TCP of the lab's network asks the guest itself, so what it
// says is what the guest answered.
func (m *Machine) Scan(ctx context.Context, ports []int) (Ports, error) {
	return scan(ctx, m.Dial, ports)
}

func scan(ctx context.Context, dial func(context.Context, int) (net.Conn, error), ports []int) (Ports, error) {
	var mu sync.Mutex
	var found Ports
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(scanBatch)
	for _, port := range ports {
		group.Go(func() error {
			knocking, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			conn, err := dial(knocking, port)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				conn.Close()
				found.Open = append(found.Open, port)
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case errors.Is(err, context.DeadlineExceeded):
				found.Filtered = append(found.Filtered, port)
			case strings.Contains(err.Error(), "refused"): // the network's TCP has no error values of its own
				found.Closed = append(found.Closed, port)
			default:
				return fmt.Errorf("cannot scan port %d of the machine: %w", port, err)
			}
			return nil
		})
	}
	err := group.Wait()
	for _, list := range [][]int{found.Open, found.Closed, found.Filtered} {
		slices.Sort(list)
	}
	return found, err
}
