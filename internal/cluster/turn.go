package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// One node at a time is taken out of a cluster. The lock is a key of the cluster itself: a KV engine of version 2 that holds nothing else. Its
// check-and-set decides between two nodes that write at once.
//
//   - The holder is written with the version that was read. Who wrote second gets a refusal, and reads again.
//   - The lock is free when nobody holds it, when its holder is no member any more (it was taken out, and cannot write), and when it has
//     not been written for Limits.Turn: the holder has died. No clocks are compared: who waits counts from when it saw the version first, and the holder from
//     before it wrote.
//   - A holder that was slow writes once more before it removes itself. The write fails when another one has taken the lock meanwhile.

// TurnPath is the key, as the policy of docs/node.md names it.
const TurnPath = "strongroom/data/retire"

const turnHint = "enable the engine, vault secrets enable -path=strongroom -version=2 kv, and give the agents' token the policy of docs/node.md (docs/retire.md)"

// turn is the lock as this node has seen it.
type turn struct {
	holder  string // node id; empty: nobody
	version int    // 0: it was never written
	since   time.Time
}

// turnAnswer is that of a KV engine, to a read and to a write.
type turnAnswer struct {
	Data struct {
		Version int `json:"version"` // of what was written
		Data    struct {
			Holder string `json:"holder"`
		} `json:"data"`
		Metadata struct {
			Version int `json:"version"`
		} `json:"metadata"`
	} `json:"data"`
}

// readTurn asks who holds the lock. The same version as before keeps its time.
func (j *Joiner) readTurn(ctx context.Context, before turn) (turn, error) {
	var answer turnAnswer
	err := j.patiently(ctx, func(ctx context.Context) error {
		answer = turnAnswer{}
		return j.server.ask(ctx, http.MethodGet, TurnPath, j.Session.Reveal(), nil, &answer)
	})
	var said *answerError
	switch {
	case errors.As(err, &said) && said.status == http.StatusNotFound && said.said == "":
		return turn{since: time.Now()}, nil
	case err != nil:
		return turn{}, failed(turnHint, "cannot read the lock %s: %s", TurnPath, words(err))
	}
	seen := turn{holder: answer.Data.Data.Holder, version: answer.Data.Metadata.Version, since: time.Now()}
	if seen.version == before.version && !before.since.IsZero() {
		seen.since = before.since
	}
	return seen, nil
}

// writeTurn writes a holder over the version that was seen.
func (j *Joiner) writeTurn(ctx context.Context, over turn, holder string) (turn, error) {
	var answer turnAnswer
	request := map[string]any{"options": map[string]int{"cas": over.version}, "data": map[string]string{"holder": holder}}
	sent := time.Now()
	err := j.patiently(ctx, func(ctx context.Context) error {
		sent = time.Now()
		return j.server.ask(ctx, http.MethodPost, TurnPath, j.Session.Reveal(), request, &answer)
	})
	switch {
	case err != nil && strings.Contains(words(err), "check-and-set parameter did not match"):
		return turn{}, j.notOurTurn("another node was faster")
	case err != nil:
		return turn{}, failed(turnHint, "cannot write the lock %s: %s", TurnPath, words(err))
	}
	return turn{holder: holder, version: answer.Data.Version, since: sent}, nil
}

// takeTurn tries once to get the lock. seen is what is known of it from the try before, and is brought up to date.
func (j *Joiner) takeTurn(ctx context.Context, seen *turn, members []Member) (turn, error) {
	now, err := j.readTurn(ctx, *seen)
	if err != nil {
		return turn{}, err
	}
	*seen = now
	isMember := slices.ContainsFunc(members, func(m Member) bool { return m.ID == now.holder })
	if now.holder != "" && now.holder != j.Identity.NodeID && isMember && time.Since(now.since) < j.Limits.Turn {
		return turn{}, j.notOurTurn(now.holder + " is being taken out")
	}
	return j.writeTurn(ctx, now, j.Identity.NodeID)
}

// giveTurn lets the next one in. It is no harm when that cannot be done: the lock ends by itself.
func (j *Joiner) giveTurn(ctx context.Context, held turn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTime)
	defer cancel()
	if _, err := j.writeTurn(ctx, held, ""); err != nil {
		j.Log.WarnContext(ctx, "cannot give back the lock of retirement: it ends by itself", "error", err)
	}
}

func (j *Joiner) notOurTurn(why string) *Refusal {
	return &Refusal{Kind: ByTurn, Reason: fmt.Sprintf("one node at a time leaves the cluster: %s", why), hint: "it goes on when that one is done, or has said nothing for " + j.Limits.Turn.String()}
}

// spare asks whether the cluster can lose this node now, and who is a member.
func (j *Joiner) spare(ctx context.Context) (members []Member, refusal *Refusal, err error) {
	if err := j.patiently(ctx, func(ctx context.Context) (err error) {
		members, err = configuration(ctx, j.server, j.Session)
		return err
	}); err != nil {
		return nil, nil, failed("give the agent's token the policy of docs/node.md", "cannot ask who is a member: %s", words(err))
	}
	var state autopilotAnswer
	if err := j.patiently(ctx, func(ctx context.Context) error {
		return j.server.ask(ctx, http.MethodGet, "sys/storage/raft/autopilot/state", j.Session.Reveal(), nil, &state)
	}); err != nil {
		return nil, nil, failed("give the agent's token the policy of docs/node.md", "cannot ask autopilot how the cluster is: %s", words(err))
	}
	healthy := map[string]bool{}
	for id, s := range state.Data.Servers {
		healthy[id] = s.Healthy
	}
	return members, canLose(j.Identity.NodeID, members, healthy, state.Data.Tolerance), nil
}

// stepDownOnce hands over the lead, when this node has it.
func (j *Joiner) stepDownOnce(ctx context.Context, members []Member, done func(string)) (stepped bool, err error) {
	own, err := look(ctx, j.server)
	if err != nil || !own.active || len(members) < 2 {
		return false, nil //nolint:nilerr // a server that does not answer is met by the next question
	}
	did, err := j.stepDown(ctx)
	if err != nil {
		return false, err
	}
	done(did)
	return true, nil
}

// removeSelf removes this node's peer, and returns when its own server knows.
func (j *Joiner) removeSelf(ctx context.Context) error {
	said := j.patiently(ctx, func(ctx context.Context) error {
		return j.server.ask(ctx, http.MethodPost, "sys/storage/raft/remove-peer", j.Session.Reveal(), map[string]string{"server_id": j.Identity.NodeID}, nil)
	})
	// The answer may be lost, since the server that hands it on is the one that is removed: what counts is what it says then.
	err := until(ctx, removedTime, j.Limits.Pace, j.Limits.Pace, func(ctx context.Context) (bool, error) {
		now, err := look(ctx, j.server)
		if err != nil {
			return false, err
		}
		return now.removed || said == nil && (now.sealed || !j.lists(ctx)), nil
	})
	if err == nil {
		return nil
	}
	if said != nil {
		err = said
	}
	return failed("try again; nothing was marked", "cannot remove this node's peer: %s", words(err))
}
