package cluster

import (
	"slices"
	"time"
)

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
