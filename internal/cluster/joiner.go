package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/strongroom/strongroom/internal/node"
)

// Options of a joiner.
type Options struct {
	Identity node.Identity
	// Local is the URL of this node's server, and LocalName a name that its certificate has: none names loopback.
	Local, LocalName string
	// NonVoters says that the server lets non-voters join and promotes them: OpenBao does.
	NonVoters bool
	Session   *Session
	// Certificate is the node's own, for a login; nil: none.
	Certificate func() (*tls.Certificate, error)
	StateDir    string // DefaultStateDir
	LockPath    string // empty: DefaultLockPath
	// JudgeBoot says whether the host has passed the gate, JudgeRun whether it passes stage run now.
	JudgeBoot, JudgeRun func(context.Context) error
	// Restart has the server's unit started again; nil: nobody can.
	Restart  func(context.Context) error
	Resolver Resolver // nil: the host's
	Discover Discover // nil: auto_join is not possible
	Report   func(Status)
	Log      *slog.Logger
	Limits   Limits // zero: DefaultLimits
}

// DefaultLockPath is locked while a node joins, so that an operator and the agent do not do it at once.
const DefaultLockPath = "/run/hostcheck/join.lock"

// Limits bound the waits of one pass.
type Limits struct {
	API    time.Duration // the local server answers
	Leader time.Duration // a member can be joined
	Unseal time.Duration // the local server is unsealed
	Listed time.Duration // the leader lists this node, as a voter
	Turn   time.Duration // a lock of retirement lives, when its holder says nothing. The same on all nodes
	Pace   time.Duration // between questions, at first
}

// DefaultLimits are those of a node. Unsealing may need people.
var DefaultLimits = Limits{API: 2 * time.Minute, Leader: time.Minute, Unseal: 10 * time.Minute, Listed: 2 * time.Minute, Turn: 20 * time.Second, Pace: 200 * time.Millisecond}

const (
	// againSoon is when the agent tries again after what may pass by itself, againLater after what somebody must change.
	againSoon  = 10 * time.Second
	againLater = 2 * time.Minute
	// watchPace is how often a member is looked at.
	watchPace = 30 * time.Second
	// joinTries is how often one pass tells the server to join: a leader may die at any moment.
	joinTries = 5
)

// Joiner brings one node into its cluster. Its methods are for one goroutine, but for Wake and Status.
type Joiner struct {
	Options
	server *client // the local one
	marks  marks
	wake   chan struct{}
	at     State // where this pass is
	stuck  State // where the last pass ended in vain
	again  bool  // the server was started again once

	mu     sync.Mutex
	status Status
}

// New makes a joiner. Nothing is asked yet.
func New(o Options) *Joiner {
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits
	}
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	if o.Discover == nil {
		o.Discover = noDiscovery
	}
	if o.LockPath == "" {
		o.LockPath = DefaultLockPath
	}
	if o.StateDir == "" {
		o.StateDir = DefaultStateDir
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(o.Identity.CA))
	server := newClient(o.Local, trust{pool, o.LocalName, o.Certificate})
	return &Joiner{Options: o, server: server, marks: marks{o.StateDir}, wake: make(chan struct{}, 1)}
}

// Wanted reports whether node.hcl asks for a cluster of others.
func Wanted(id node.Identity) bool {
	return len(id.Join.Leaders) > 0 || id.Join.SRV != "" || id.Join.AutoJoin != ""
}

// pass is what one pass has learnt. It begins empty: nothing is carried over from another one.
type pass struct {
	own      seen
	leader   *proof
	lookup   string // what could not be looked up, as it was logged last
	nonVoter bool   // join as one
	promoted bool   // it has been asked to be a voter; autopilot makes it one when it is stable
	doubted  bool   // its server says that it was removed, and may be wrong
	tries    int
}

// step does the work of a state, and says which one follows.
type step func(*Joiner, context.Context, *pass) (State, error)

// steps is the state machine. docs/join.md draws it.
var steps = map[State]step{
	Gate:    (*Joiner).gate,
	API:     (*Joiner).api,
	Local:   (*Joiner).local,
	Find:    (*Joiner).find,
	Judge:   (*Joiner).judge,
	Join:    (*Joiner).join,
	Unseal:  (*Joiner).unseal,
	Listed:  (*Joiner).listed,
	Promote: (*Joiner).promote,
}

// Once makes one pass: it ends with nil, and the node is a member, or with a [Refusal] and it is not. It can
// be cut short at any point and begun again.
func (j *Joiner) Once(ctx context.Context) error {
	p := &pass{}
	for state := Gate; ; {
		j.enter(state, "")
		next, err := steps[state](j, ctx, p)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return j.end(err)
		}
		if next == Ready {
			j.enter(Ready, "")
			j.stuck = ""
			return nil
		}
		state = next
	}
}

// Run joins, watches, and joins again, until the context ends.
func (j *Joiner) Run(ctx context.Context) {
	if !Wanted(j.Identity) {
		j.enter(Off, "")
		return
	}
	for ctx.Err() == nil {
		err := j.Once(ctx)
		if err == nil {
			j.watch(ctx)
			continue
		}
		again := againSoon
		if asRefusal(err).Final {
			again = againLater
		}
		j.rest(ctx, again)
	}
}

// Wake makes a joiner that rests look again now: something has changed.
func (j *Joiner) Wake() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// Status gives what was reported last.
func (j *Joiner) Status() Status {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.status
}

func (j *Joiner) rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(jittered(d))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-j.wake:
	case <-t.C:
	}
}
