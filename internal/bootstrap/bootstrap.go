package bootstrap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/strongroom/strongroom/internal/cluster"
	"github.com/strongroom/strongroom/internal/node"
)

// Options of a first start.
type Options struct {
	Identity node.Identity // its Bootstrap is not nil
	Server   *cluster.Server
	Product  string // "vault", "openbao"
	// Others asks the other members which of them belong to a cluster already.
	Others func(context.Context) (initialized []string, err error)
	// Judge says whether the running host has passed.
	Judge       func(context.Context) error
	Certificate func() (*tls.Certificate, error) // the node's own
	Read        func(context.Context, node.Reference) ([]byte, error)
	Token       node.Secret // a root token that key holders have generated; usually empty
	Clouds      Clouds
	// Snapshot takes the first one; nil: node.hcl has no snapshot block.
	Snapshot  func(context.Context) error
	Directory string    // on the data partition
	KeyPath   string    // in memory
	LockPath  string    // of the join
	LockStore LockStore // in which the candidates find out who initialises; nil: node.hcl has no such block
	Said      func(string)
	Now       func() time.Time
	Limits    Limits
	// Reached is told each point of the way; an error ends the run there, as a crash would. Nil outside tests.
	Reached func(point string) error
}

// Limits bound the waits.
type Limits struct {
	API    time.Duration // the local server answers
	Others time.Duration // all other members answer
	Active time.Duration // the server is unsealed and leads
	Pace   time.Duration // between questions
}

// DefaultLimits are those of a node. Members that start together are up within minutes.
var DefaultLimits = Limits{API: 2 * time.Minute, Others: 5 * time.Minute, Active: 5 * time.Minute, Pace: time.Second}

const (
	// KeyPath is where the key lies that opens the root token for the next run. It is in memory and gone with a reboot.
	KeyPath = "/run/hostcheck/bootstrap.key"
	// MaxReference bounds what a reference of the block may hold, in bytes.
	MaxReference = 256 << 10
)

// run is one run.
type run struct {
	Options
	config  *node.Bootstrap
	state   *progress
	root    []byte // the root token, once it is known
	plain   [][]byte
	session *cluster.Session
}

// step is one thing that is done once.
type step struct {
	name string
	do   func(*run, context.Context) error
}

// steps in their order. docs/bootstrap.md has the reasons.
var steps = []step{
	{"initialize", (*run).initialize},
	{"deliver", (*run).deliver},
	{"unseal", (*run).unseal},
	{"audit", (*run).audit},
	{"auth", (*run).auth},
	{"policies", (*run).policies},
	{"provisioner", (*run).provisioner},
	{"login", (*run).login},
	{"autopilot", (*run).autopilot},
	{"turns", (*run).turns},
	{"revoke", (*run).revoke},
	{"snapshot", (*run).snapshot},
}

// errNothing ends a run that has nothing to do, with the reason.
type errNothing string

func (e errNothing) Error() string { return string(e) }

// Run does what is left to be done. It is safe to run again at any point.
func Run(ctx context.Context, o Options) error {
	r := &run{Options: o, config: o.Identity.Bootstrap}
	defer r.wipe()
	err := r.all(ctx)
	var nothing errNothing
	if errors.As(err, &nothing) {
		r.Said(string(nothing))
		return nil
	}
	return err
}

func (r *run) all(ctx context.Context) error {
	var err error
	if r.state, err = readProgress(r.Directory); err != nil {
		return err
	}
	if r.state != nil && r.state.Finished != nil {
		return errNothing("the cluster was started by this node at " + stamp(*r.state.Finished) + ": there is nothing to do")
	}
	if r.state != nil && r.state.NodeID != r.Identity.NodeID {
		return node.Hinted(fmt.Errorf("the first start was begun by a node with another id (%s)", r.state.NodeID), "wipe the data partitions of this node and begin again")
	}
	for _, s := range steps {
		if r.state != nil && r.state.done(s.name) {
			continue
		}
		if err := s.do(r, ctx); err != nil {
			var nothing errNothing
			if errors.As(err, &nothing) {
				return err
			}
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if err := r.reached(s.name + ": done"); err != nil {
			return err
		}
		r.state.Steps = append(r.state.Steps, Step{s.name, r.now()})
		if err := r.save(); err != nil {
			return err
		}
		r.Said(s.name + ": done")
		if err := r.reached(s.name + ": recorded"); err != nil {
			return err
		}
	}
	return r.finish(ctx)
}

func (r *run) reached(point string) error {
	if r.Reached == nil {
		return nil
	}
	return r.Reached(point)
}

func (r *run) now() time.Time { return r.Now().UTC().Truncate(time.Second) }

// wipe overwrites the secrets as far as Go lets one: copies that the libraries made are beyond reach.
func (r *run) wipe() {
	clear(r.root)
	for _, k := range r.plain {
		clear(k)
	}
	r.plain = nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// until asks again and again until the answer is nil or the time is over; then it gives the last answer.
func until(ctx context.Context, limit, pace time.Duration, ask func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last error
	for {
		err := ask(limited)
		var nothing errNothing
		if err == nil || errors.As(err, &nothing) {
			return err
		}
		if limited.Err() != nil && last != nil {
			err = last // what was in the way, rather than that the last question was cut short
		}
		last = err
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limited.Done():
			return err
		case <-time.After(pace):
		}
	}
}
