package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

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

// unsealPaces is how long a server that was just started may take to be unsealed by its seal, which it tries every five seconds: ten, for a node.
const unsealPaces = 50

// unseal waits for the seal's service, or for people.
func (j *Joiner) unseal(ctx context.Context, p *pass) (State, error) {
	lost, began := false, time.Now()
	// A server with a seal that unseals by itself tries every five seconds: what is asked of it costs a millisecond.
	err := until(ctx, j.Limits.Unseal, j.Limits.Pace/2, j.Limits.Pace, func(ctx context.Context) (bool, error) {
		own, err := look(ctx, j.server)
		switch {
		case err != nil:
			err = failed("is the server's unit running?", "the local server does not answer any more: %s", words(err))
		case own.removed && !p.doubted:
			err = j.removed(ctx, p, own)
			return err != nil, err
		case !own.initialized && (p.own.initialized || own.seal == "shamir" || own.sealed):
			// It was restarted before the join was on its disk.
			lost = true
			return true, nil
		case own.initialized && !own.sealed:
			p.own = own
			return true, nil
		case own.seal == "shamir":
			err = failed("unseal this node with the cluster's key shares", "the server is sealed and waits for its key holders")
		case j.mayRestart(own) && time.Since(began) > unsealPaces*j.Limits.Pace:
			j.again = true
			j.Log.WarnContext(ctx, "starting the server again: it took itself for removed, has sealed itself, and its seal unseals it at its start only", "issue", slowReplay)
			err = j.Restart(ctx)
		case own.marked:
			err = failed("start the server again", "the server took itself for removed, has sealed itself, and is unsealed (%s) at its start only", own.seal)
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
