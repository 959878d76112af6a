package cluster

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

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
	Resolver            Resolver // nil: the host's
	Discover            Discover // nil: auto_join is not possible
	Report              func(Status)
	Log                 *slog.Logger
	Limits              Limits // zero: DefaultLimits
}

// DefaultLockPath is locked while a node joins, so that an operator and the agent do not do it at once.
const DefaultLockPath = "/run/hostcheck/join.lock"

// Limits bound the waits of one pass.
type Limits struct {
	API    time.Duration // the local server answers
	Leader time.Duration // a member can be joined
	Unseal time.Duration // the local server is unsealed
	Listed time.Duration // the leader lists this node, as a voter
	Pace   time.Duration // between questions, at first
}

// DefaultLimits are those of a node. Unsealing may need people.
var DefaultLimits = Limits{API: 2 * time.Minute, Leader: time.Minute, Unseal: 10 * time.Minute, Listed: 2 * time.Minute, Pace: 200 * time.Millisecond}

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
	nonVoter bool // join as one
	promoted bool // it has been asked to be a voter; autopilot makes it one when it is stable
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

// update changes the status and reports it, when something has changed.
func (j *Joiner) update(change func(*Status)) {
	j.mu.Lock()
	s := j.status
	s.Peers = slices.Clone(s.Peers)
	change(&s)
	if s.State != j.status.State {
		s.Since = time.Now()
	}
	same := s.State == j.status.State && s.Reason == j.status.Reason && s.Hint == j.status.Hint && s.Leader == j.status.Leader &&
		s.Voter == j.status.Voter && slices.Equal(s.Peers, j.status.Peers)
	j.status = s
	j.mu.Unlock()
	if !same && j.Report != nil {
		j.Report(s)
	}
}

// enter goes on to a state. A pass that repeats one that ended in vain is not news until it comes further: what is shown
// stays the reason why it ended.
func (j *Joiner) enter(state State, reason string) {
	j.at = state
	if j.repeats() {
		return
	}
	j.update(func(s *Status) { s.State, s.Reason, s.Hint = state, reason, "" })
}

func (j *Joiner) repeats() bool {
	return j.stuck != "" && j.at != Ready && slices.Index(States, j.at) <= slices.Index(States, j.stuck)
}

// end shows why a pass ended in vain. Where people are waited for, that stays the state.
func (j *Joiner) end(err error) error {
	r := asRefusal(err)
	state := Failed
	switch {
	case r.Final:
		state = Refused
	case j.at == NoneYet, j.at == Unseal:
		state = j.at
	}
	j.stuck = j.at
	j.update(func(s *Status) { s.State, s.Reason, s.Hint = state, r.Reason, r.hint })
	return r
}

// say gives the reason for a wait.
func (j *Joiner) say(err error) {
	if err == nil || j.repeats() {
		return
	}
	r := asRefusal(err)
	j.update(func(s *Status) { s.Reason, s.Hint = r.Reason, r.hint })
}

// gate is about this host alone: has it been taken out of its cluster for good, and does it pass stage boot.
func (j *Joiner) gate(ctx context.Context, _ *pass) (State, error) {
	retired, err := j.marks.read(retiredMark)
	switch {
	case err != nil:
		return "", refuse("look at the file; a node that was retired is replaced and not used again", "cannot tell whether this node was retired: %v", err)
	case retired != nil:
		return "", refuse("bring up a new node with a new id and empty data partitions",
			"this node (%s) was retired at %s: %s", retired.NodeID, stamp(retired.At), retired.Why)
	}
	if err := j.JudgeBoot(ctx); err != nil {
		return "", gateRefuses(err)
	}
	return API, nil
}

func gateRefuses(err error) *Refusal {
	return &Refusal{Kind: ByGate, Reason: err.Error(), hint: "hostcheck verify says which controls fail"}
}

// api waits for the local server.
func (j *Joiner) api(ctx context.Context, p *pass) (State, error) {
	err := until(ctx, j.Limits.API, j.Limits.Pace, 8*j.Limits.Pace, func(ctx context.Context) (bool, error) {
		var err error
		if p.own, err = look(ctx, j.server); err != nil {
			err = failed("is the server's unit running? journalctl has its log", "the local server does not answer at %s: %s", j.Local, words(err))
			j.say(err)
			return false, err
		}
		return true, nil
	})
	return Local, err
}

// local finds out where this node stands: everything else follows from the server's own answer.
func (j *Joiner) local(ctx context.Context, p *pass) (State, error) {
	switch {
	case p.own.removed:
		return "", j.removed(ctx, p.own)
	case p.own.initialized && p.own.sealed:
		return Unseal, nil
	case p.own.initialized:
		return Listed, nil
	}
	member, err := j.marks.read(memberMark)
	switch {
	case err != nil:
		return "", refuse("look at the file; on a node that never joined it can be deleted", "cannot tell whether this node was a member: %v", err)
	case member != nil && member.NodeID == j.Identity.NodeID:
		return "", refuse("remove the old peer (hostcheck leave --retire, or sys/storage/raft/remove-peer), and bring up a node with a new id and empty data partitions",
			"this node (%s) was a member since %s, and its server has no data: they were wiped or lost", member.NodeID, stamp(member.At))
	}
	return Find, nil
}

// proposed is what a candidate has to go with.
func (j *Joiner) proposed(own seen) local {
	return local{cmp.Or(own.seal, j.Identity.Seal), own.version, j.Identity.ClusterName}
}

const tornHint = "stop the server, wipe its storage directory, remove the old peer if there is one, and bring the node up with a new id"

// find looks for members and asks them, until one can be joined.
func (j *Joiner) find(ctx context.Context, p *pass) (State, error) {
	own := j.proposed(p.own)
	err := until(ctx, j.Limits.Leader, 5*j.Limits.Pace, 40*j.Limits.Pace, func(ctx context.Context) (bool, error) {
		candidates, lookup := find(ctx, j.Identity, j.Resolver, j.Discover)
		if len(candidates) == 0 {
			if lookup == nil {
				lookup = verdict(nil)
			}
			err := asRefusal(lookup)
			j.say(err)
			return false, err
		}
		if j.at == Find {
			j.enter(Prove, "")
		}
		leader, all := choose(ctx, j.Identity, candidates, own)
		if ctx.Err() != nil {
			return false, nil // the time is over: the answer before this one was a better one
		}
		j.update(func(s *Status) { s.Peers = peers(all) })
		if leader != nil {
			p.leader = leader
			j.update(func(s *Status) { s.Leader = leader.address })
			return true, nil
		}
		refusal := verdict(all)
		if nobodyIsInitialized(all) {
			refusal = failed("initialize the first node (operator init); this one never does", "there is no cluster yet: %s", refusal.Reason)
			j.at = NoneYet
			j.say(refusal)
			j.update(func(s *Status) { s.State = NoneYet })
			return false, refusal
		}
		j.enter(Prove, refusal.Reason)
		j.say(refusal)
		return refusal.Final, refusal
	})
	if err != nil {
		return "", err
	}
	if err := j.askLeader(ctx, p); err != nil {
		return "", err
	}
	return Judge, nil
}

// askLeader asks the leader who it knows, where there is a token. An id or an address that it knows already must not be
// joined with: the server would take the place of a living member without a word.
func (j *Joiner) askLeader(ctx context.Context, p *pass) error {
	if !j.Session.Possible() {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, changeTime)
	defer cancel()
	client := j.clientOf(p.leader)
	if err := j.Session.Keep(limited, client); err != nil && !j.Session.HasToken() {
		if j.NonVoters {
			return failed("the role must exist before the node joins: docs/join.md", "this node could join as a non-voter and never be promoted: %v", err)
		}
		j.Log.WarnContext(ctx, "joining without the leader's own word on who is a member", "error", err)
		return nil
	}
	members, err := configuration(limited, client, j.Session)
	if err != nil {
		if denied(err) {
			j.Session.Forget()
		}
		if j.NonVoters {
			return failed("give it the policy of docs/node.md", "the agent's token cannot read who is a member: %s", words(err))
		}
		j.Log.WarnContext(ctx, "joining without the leader's own word on who is a member", "error", words(err))
		return nil
	}
	p.nonVoter = j.NonVoters
	return conflict(j.Identity, members)
}

// clientOf asks the leader as this node: a login shows the node's certificate.
func (j *Joiner) clientOf(leader *proof) *client {
	if j.Certificate == nil || !j.Session.LogsIn() {
		return leader.client
	}
	t := leader.trust()
	t.certificate = j.Certificate
	return newClient(leader.address, t)
}

// conflict says why this node would take somebody's place. The same id at the same address is this node itself, cut short
// while it joined.
func conflict(id node.Identity, members []Member) error {
	address := strings.TrimSuffix(id.ClusterAddr, "/")
	if _, host, ok := strings.Cut(address, "://"); ok {
		address = host
	}
	for _, m := range members {
		switch {
		case m.ID == id.NodeID && m.Address != address:
			return refuse("give this node a new id (delete /var/lib/hostcheck/node-id on empty data partitions); when the old node is gone, remove its peer first",
				"the cluster has a member with this node's id (%s) at another address, %s", m.ID, m.Address)
		case m.ID != id.NodeID && m.Address == address:
			return refuse("remove that peer, when its node is gone: sys/storage/raft/remove-peer, server_id "+m.ID,
				"the cluster has another member (%s) at this node's address, %s", m.ID, m.Address)
		}
	}
	return nil
}

// judge is the last look at this host before anything is changed.
func (j *Joiner) judge(ctx context.Context, _ *pass) (State, error) {
	if err := j.passesRun(ctx); err != nil {
		return "", err
	}
	return Join, nil
}

// passesRun judges stage run, until it passes or the time is over: memory is locked and ports are opened a moment after the start.
func (j *Joiner) passesRun(ctx context.Context) error {
	return until(ctx, j.Limits.Listed, 5*j.Limits.Pace, 40*j.Limits.Pace, func(ctx context.Context) (bool, error) {
		if err := j.JudgeRun(ctx); err != nil {
			err := gateRefuses(err)
			j.say(err)
			return false, err
		}
		return true, nil
	})
}

// join tells the local server to join the leader. The server does not forget half of it: it answers when it is done.
func (j *Joiner) join(ctx context.Context, p *pass) (State, error) {
	unlock, err := lock(j.LockPath)
	if err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return "", failed("wait for the other one", "somebody else is joining this node (%s)", j.LockPath)
		}
		return "", failed("look at the directory; the agent's unit and its AppArmor profile let it write there", "cannot lock: %v", err)
	}
	defer unlock()
	limited, cancel := context.WithTimeout(ctx, changeTime)
	defer cancel()
	request := map[string]any{
		"leader_api_addr": p.leader.address,
		"leader_ca_cert":  p.leader.ca, // always: without it the server ignores the name
		"retry":           false,
	}
	if p.leader.serverName != "" {
		request["leader_tls_servername"] = p.leader.serverName
	}
	if p.nonVoter {
		request["non_voter"] = true
	}
	err = j.server.ask(limited, http.MethodPost, "sys/storage/raft/join", nil, request, nil)
	if err == nil {
		j.Log.InfoContext(ctx, "the server has joined", "leader", p.leader.address, "non_voter", p.nonVoter)
		return Unseal, nil
	}
	refusal := joinRefusal(words(err))
	p.tries++
	if refusal.Final || p.tries >= joinTries {
		return "", refusal
	}
	// The leader may have died, or moved: everything is asked anew. The server may even have joined, and the answer was lost.
	j.Log.WarnContext(ctx, "the server could not join", "leader", p.leader.address, "error", refusal.Reason, "try", p.tries)
	j.say(refusal)
	if err := sleep(ctx, 5*j.Limits.Pace); err != nil {
		return "", err
	}
	return API, nil
}

// joinRefusal puts the server's words beside what they mean.
func joinRefusal(said string) *Refusal {
	for _, known := range []struct {
		part, reason, hint string
		final              bool
	}{
		{"already has state", "the server has a Raft log, and no data that go with it: its storage was wiped in part, or it lost its power while it joined", tornHint, true},
		{"has been removed from the HA cluster", "this node was removed from its cluster", "wipe the node's data partitions and bring it up with a new id", true},
		{"incompatible seal types", "the leader has another seal", "give this node the seal of the cluster in node.hcl", true},
		{"error decrypting challenge", "this node's seal cannot read what the cluster's seal wrote: it has another key, or may not use it", "give this node the key of the cluster's seal", false},
		{"removal of too many servers", "the cluster has dead members at this node's address, and removing them would cost its quorum", "remove the dead peers by hand: sys/storage/raft/remove-peer", true},
		{"duplicate address", "the cluster has another member at this node's address", "remove that peer, when its node is gone", true},
		{"non-voting nodes not allowed", "this server has no non-voters", "the image's baseline names another server than the one that runs", true},
	} {
		if strings.Contains(said, known.part) {
			return &Refusal{Kind: ByJoin, Final: known.final, Reason: known.reason + " (" + said + ")", hint: known.hint}
		}
	}
	return failed("", "the server could not join: %s", said)
}

// unseal waits for the seal's service, or for people.
func (j *Joiner) unseal(ctx context.Context, p *pass) (State, error) {
	lost := false
	// A server with a seal that unseals by itself tries every five seconds: what is asked of it costs a millisecond.
	err := until(ctx, j.Limits.Unseal, j.Limits.Pace/2, j.Limits.Pace, func(ctx context.Context) (bool, error) {
		own, err := look(ctx, j.server)
		switch {
		case err != nil:
			err = failed("is the server's unit running?", "the local server does not answer any more: %s", words(err))
		case own.removed:
			return true, j.removed(ctx, own)
		case !own.initialized && (p.own.initialized || own.seal == "shamir" || own.sealed):
			// It was restarted before the join was on its disk.
			lost = true
			return true, nil
		case own.initialized && !own.sealed:
			p.own = own
			return true, nil
		case own.seal == "shamir":
			err = failed("unseal this node with the cluster's key shares", "the server is sealed and waits for its key holders")
		default:
			err = failed("can this node reach the seal's service, and may it use the key? journalctl has the server's log", "the server is sealed (%s)", own.seal)
		}
		j.say(err)
		return false, err
	})
	if err == nil && lost {
		if err := sleep(ctx, j.Limits.Pace); err != nil {
			return "", err
		}
		p.tries++
		if p.tries >= joinTries {
			return "", failed("journalctl has the server's log", "the server joined %d times and forgot it each time", p.tries)
		}
		return API, nil
	}
	return Listed, err
}

// listed waits until the cluster knows this node: with a token, until the leader lists it, as a voter; without one, until this
// server hears from an active node.
func (j *Joiner) listed(ctx context.Context, p *pass) (State, error) {
	var next State
	err := until(ctx, j.Limits.Listed, j.Limits.Pace/2, 5*j.Limits.Pace, func(ctx context.Context) (bool, error) {
		own, err := look(ctx, j.server)
		switch {
		case err != nil:
			err = failed("is the server's unit running?", "the local server does not answer any more: %s", words(err))
		case own.removed:
			return true, j.removed(ctx, own)
		case !own.initialized || own.sealed:
			next = API
			return true, nil
		case own.leader == "" && !own.active:
			err = failed("do the members reach one another at the Raft port?", "this node knows no active node")
		case !own.healthy:
			err = failed("do the members reach one another at the Raft port?", "this node does not hear from the active node")
		default:
			j.update(func(s *Status) { s.Leader = own.leader })
			var voter bool
			if next, voter, err = j.standing(ctx, p); err == nil {
				j.update(func(s *Status) { s.Voter = voter })
				p.own = own
				return true, nil
			}
		}
		j.say(err)
		return false, err
	})
	if err != nil || next != Ready {
		return next, err
	}
	return Ready, j.remember(p.own)
}

// standing asks the leader, through the local server, what this node is to it.
func (j *Joiner) standing(ctx context.Context, p *pass) (next State, voter bool, err error) {
	if !j.Session.Possible() {
		return Ready, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	if err := j.Session.Keep(ctx, j.server); err != nil && !j.Session.HasToken() {
		j.Log.WarnContext(ctx, "a member by its own word alone: there is no token to ask the leader with", "error", err)
		return Ready, false, nil
	}
	members, err := configuration(ctx, j.server, j.Session)
	if err != nil {
		if denied(err) {
			j.Session.Forget()
			j.Log.WarnContext(ctx, "a member by its own word alone: the token may not ask who is one", "error", words(err))
			return Ready, false, nil
		}
		return "", false, failed("", "cannot ask who is a member: %s", words(err))
	}
	i := slices.IndexFunc(members, func(m Member) bool { return m.ID == j.Identity.NodeID })
	switch {
	case i < 0:
		// OpenBao does not say of itself that it was removed.
		return "", false, refuse("if it was removed: wipe the node's data partitions and bring it up with a new id", "the leader does not list this node (%s)", j.Identity.NodeID)
	case members[i].Voter:
		return Ready, true, nil
	case j.NonVoters && !p.promoted:
		return Promote, false, nil // also after a crash between join and promotion
	}
	return "", false, failed("autopilot makes it one when it has been stable for server_stabilization_time", "this node is not a voter yet")
}

// promote judges the running host once more and makes it a voter.
func (j *Joiner) promote(ctx context.Context, p *pass) (State, error) {
	if err := j.passesRun(ctx); err != nil {
		return "", err
	}
	limited, cancel := context.WithTimeout(ctx, changeTime)
	defer cancel()
	err := j.server.ask(limited, http.MethodPost, "sys/storage/raft/promote", j.Session.Reveal(), map[string]string{"server_id": j.Identity.NodeID}, nil)
	// "Not a non-voter": it was promoted before this pass, and autopilot has not made it a voter yet.
	if err != nil && !strings.Contains(words(err), "not a non-voter") {
		return "", failed("give the agent's token the policy of docs/node.md", "cannot promote this node: %s", words(err))
	}
	p.promoted = true
	j.Log.InfoContext(ctx, "verified as a non-voter: promoted")
	return Listed, sleep(ctx, j.Limits.Pace)
}

// remember leaves the mark of a member beside the node's id.
func (j *Joiner) remember(own seen) error {
	old, err := j.marks.read(memberMark)
	if err == nil && old != nil && old.NodeID == j.Identity.NodeID {
		return nil
	}
	err = j.marks.write(memberMark, mark{NodeID: j.Identity.NodeID, Cluster: own.clusterID, At: time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		// A member all the same: only that lost data would not be recognised.
		j.Log.Warn("cannot leave the mark of a member", "error", err)
	}
	return nil
}

// watch returns when this node is no healthy member any more.
func (j *Joiner) watch(ctx context.Context) {
	misses := 0
	for {
		j.rest(ctx, watchPace)
		if ctx.Err() != nil {
			return
		}
		own, err := look(ctx, j.server)
		if err == nil && own.initialized && !own.sealed && !own.removed && (own.active || own.leader != "" && own.healthy) {
			misses = 0
			j.update(func(s *Status) { s.Leader = own.leader })
			continue
		}
		// An election takes seconds: what is so twice is so.
		if misses++; misses >= 2 || err == nil && (own.removed || own.sealed) {
			return
		}
	}
}

// lock is held while the server is told to join, by whoever does.
func lock(path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return func() { f.Close() }, nil
}

func noDiscovery(context.Context, string) ([]string, error) {
	return nil, node.Hinted(errors.New("this joiner asks no cloud"), "use leader or srv in node.hcl")
}
