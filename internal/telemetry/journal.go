package telemetry

import (
	"cmp"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/journal"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/report"
)

// Message ids of the journal entries, for `journalctl MESSAGE_ID=…`.
const (
	MessageVerdict = "5c0e2f9d8b4a4c3e9a7d61f0e2b39c14"
	MessageControl = "b7d1a6340f4e4d0cbe58a92c7f13d6e8"
	MessageJoin    = "9c4f1d7be8304b52a6f0c3d95e27b81a"
	MessageRoot    = "e1a7c40d5b7f4c0f8d3b6a92f0c85e77"
	MessageRetire  = "e1c85a0b47d94f6fa3b20d6c9f7e5138"
)

// maxMessage keeps an entry in one datagram: for a longer one the journal's client would write a
// file, and the gate writes none.
const maxMessage = 2048

// Send writes one entry; journal.Send does.
type Send func(message string, priority journal.Priority, fields map[string]string) error

// Journal tells the system journal about reports: everything that does not pass at first, and
// from then on only what changed.
type Journal struct {
	send     Send
	outcomes map[string]control.Outcome
	verdict  check.Verdict
	flaps    flaps
	mu       sync.Mutex
	join     string // the last message about it
	also     atomic.Pointer[func(string, journal.Priority, map[string]string)]
}

// forward gives each entry to another receiver too, until its answer is called.
func (j *Journal) forward(to func(message string, priority journal.Priority, fields map[string]string)) (end func()) {
	j.also.Store(&to)
	return func() { j.also.CompareAndSwap(&to, nil) }
}

// NewJournal gives a journal that knows nothing yet. A nil send writes to systemd's journal.
func NewJournal(send Send) *Journal {
	if send == nil {
		send = journal.Send
	}
	j := &Journal{outcomes: map[string]control.Outcome{}, flaps: flaps{}}
	j.send = func(message string, priority journal.Priority, fields map[string]string) error {
		if also := j.also.Load(); also != nil {
			(*also)(message, priority, fields)
		}
		return send(message, priority, fields)
	}
	return j
}

// Know takes note of a report that another process has told.
func (j *Journal) Know(d *report.Document) {
	for _, c := range d.Controls {
		j.outcomes[c.ID] = c.Outcome
	}
	j.verdict = d.Verdict
}

// Report tells what is new in a report: an entry for each control that does not pass or passes again, and one for the
// verdict. Pending controls are no news: each has its turn at a later stage. announced is who has announced a change since the
// last report; nobody, when it is the periodic reading that finds it.
func (j *Journal) Report(d *report.Document, announced ...string) error {
	var told, failed int
	var err error // the first: a journal that is not there would say the same of each entry
	send := func(message string, p journal.Priority, fields map[string]string) {
		told++
		if e := j.send(message, p, fields); e != nil {
			failed++
			err = cmp.Or(err, e)
		}
	}
	for _, c := range d.Controls {
		before, known := j.outcomes[c.ID]
		bad := needsAttention(c.Outcome)
		var change, fields = "", map[string]string{}
		if known && before != c.Outcome {
			change = fmt.Sprintf("; was %s", before)
			fields["STRONGROOM_WAS"] = before.String()
			fields["STRONGROOM_ANNOUNCED"] = cmp.Or(strings.Join(announced, " "), "reading")
			if len(announced) > 0 {
				change += "; announced by " + strings.Join(announced, ", ")
			}
		}
		switch {
		case bad == (known && needsAttention(before)) && (!bad || before == c.Outcome):
			if !j.flaps.settled(c.ID, time.Now()) {
				continue
			}
			change = fmt.Sprintf("; unchanged for %s", flapWindow)
		default:
			switch j.flaps.changed(c.ID, time.Now()) {
			case quiet:
				continue
			case mute:
				change += fmt.Sprintf("; it flaps, and is told again when it has kept still for %s", flapWindow)
			}
		}
		fields["MESSAGE_ID"] = MessageControl
		fields["STRONGROOM_CONTROL"] = c.ID
		fields["STRONGROOM_OUTCOME"] = c.Outcome.String()
		fields["STRONGROOM_SEVERITY"] = string(c.Severity)
		fields["STRONGROOM_STAGE"] = d.Stage.String()
		fields["STRONGROOM_BASELINE"] = d.Baseline
		send(clipTo(controlMessage(c), maxMessage-len(change))+change, priority(c.Severity, c.Outcome), fields)
	}
	news := told > 0 || j.verdict != d.Verdict && j.flaps.changed("", time.Now()) != quiet
	j.Know(d)
	if news {
		send(verdictMessage(d), verdictPriority(d.Verdict), map[string]string{
			"MESSAGE_ID":          MessageVerdict,
			"STRONGROOM_VERDICT":  string(d.Verdict),
			"STRONGROOM_STAGE":    d.Stage.String(),
			"STRONGROOM_BASELINE": d.Baseline,
		})
	}
	if err != nil {
		return fmt.Errorf("%d of %d entries: %w", failed, told, err)
	}
	return nil
}

// Join tells where the node stands on its way into the cluster, when that has changed. It may be called while Report
// is: the join goes its way beside the judgements.
func (j *Journal) Join(s Join) error {
	message := "join: " + s.State
	if s.Reason != "" {
		message += ": " + s.Reason
	}
	message = clip(message)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.join == message {
		return nil
	}
	j.join = message
	p := journal.PriInfo
	switch {
	case s.Fault:
		p = journal.PriErr
	case s.State != JoinReady && s.Reason != "":
		p = journal.PriNotice
	}
	return j.send(message, p, map[string]string{
		"MESSAGE_ID":             MessageJoin,
		"STRONGROOM_JOIN_STATE":  s.State,
		"STRONGROOM_JOIN_REASON": clip(s.Reason),
	})
}

func needsAttention(o control.Outcome) bool {
	return o == control.Fail || o == control.Unknown || o == control.Waived
}

// controlMessage names the control and the first fact that decided.
func controlMessage(c report.Control) string {
	m := fmt.Sprintf("%s: %s", c.ID, c.Outcome)
	for _, o := range c.Observations {
		if o.Outcome != c.Outcome || !needsAttention(o.Outcome) {
			continue
		}
		m += ": " + o.Source
		if o.Error != "" {
			m += ": " + o.Error
		} else {
			m += fmt.Sprintf(": want %q, got %q", o.Want, o.Got)
		}
		break
	}
	if c.Waiver != nil {
		until := c.Waiver.Expires.Format(time.RFC3339)
		switch c.Outcome {
		case control.Waived:
			m += fmt.Sprintf("; waived by %s until %s", c.Waiver.Owner, until)
		case control.Fail:
			m += fmt.Sprintf("; the waiver by %s ended at %s", c.Waiver.Owner, until)
		}
	}
	return m
}

func verdictMessage(d *report.Document) string {
	var bad []string
	for _, c := range d.Controls {
		if c.Severity == control.Must && (c.Outcome == control.Fail || c.Outcome == control.Unknown) {
			bad = append(bad, c.ID)
		}
	}
	m := fmt.Sprintf("verdict of stage %s: %s, %d of %d controls pass", d.Stage, d.Verdict,
		d.Summary[control.Pass.String()], len(d.Controls))
	if len(bad) > 0 {
		m += "; must: " + strings.Join(bad, ", ")
	}
	return clip(m)
}

func clip(m string) string { return clipTo(m, maxMessage) }

func clipTo(m string, most int) string {
	if len(m) > most {
		m = strings.ToValidUTF8(m[:most], "") + "…"
	}
	return m
}

func priority(s control.Severity, o control.Outcome) journal.Priority {
	switch {
	case o == control.Fail && s == control.Must:
		return journal.PriCrit
	case o == control.Unknown && s == control.Must:
		return journal.PriErr
	case o == control.Fail, o == control.Unknown:
		return journal.PriWarning
	case o == control.Waived:
		return journal.PriNotice
	}
	return journal.PriInfo
}

func verdictPriority(v check.Verdict) journal.Priority {
	switch v {
	case check.Pass:
		return journal.PriInfo
	case check.Fail:
		return journal.PriCrit
	}
	return journal.PriErr
}
