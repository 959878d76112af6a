package telemetry_test

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/journal"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/report"
	"github.com/strongroom/strongroom/internal/telemetry"
)

type entry struct {
	message  string
	priority journal.Priority
	fields   map[string]string
}

func recorder() (*telemetry.Journal, func() []entry) {
	var entries []entry
	j := telemetry.NewJournal(func(m string, p journal.Priority, f map[string]string) error {
		entries = append(entries, entry{m, p, f})
		return nil
	})
	return j, func() []entry {
		out := entries
		entries = nil
		return out
	}
}

// brief is what an entry is about, in a word.
func brief(entries []entry) []string {
	var out []string
	for _, e := range entries {
		if id := e.fields["STRONGROOM_CONTROL"]; id != "" {
			out = append(out, fmt.Sprintf("%s=%s/%d", id, e.fields["STRONGROOM_OUTCOME"], e.priority))
		} else {
			out = append(out, fmt.Sprintf("verdict=%s/%d", e.fields["STRONGROOM_VERDICT"], e.priority))
		}
	}
	return out
}

func TestJournalTellsWhatIsNew(t *testing.T) {
	j, sent := recorder()
	tell := func(edit func(*report.Document), want ...string) {
		t.Helper()
		if err := j.Report(document(edit)); err != nil {
			t.Fatal(err)
		}
		if got := brief(sent()); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	tell(nil, "memory-swap-off=fail/2", "time-chrony=unknown/4", "verdict=fail/2")
	tell(nil)
	tell(func(d *report.Document) { d.Controls[0].Outcome = control.Unknown }, "memory-swap-off=unknown/3", "verdict=fail/2")
	tell(func(d *report.Document) { d.Controls[0].Outcome = control.Waived }, "memory-swap-off=waived/5", "verdict=fail/2")
	tell(passing, "memory-swap-off=pass/6", "time-chrony=pass/6", "verdict=pass/6")
	tell(passing)
	tell(func(d *report.Document) { passing(d); d.Controls[3].Outcome = control.Fail; d.Verdict = "fail" }, "vault-mlock=fail/2", "verdict=fail/2")
}

// Who reads a waived failure learns who answers for it, and until when.
func TestJournalNamesTheWaiver(t *testing.T) {
	j, sent := recorder()
	err := j.Report(document(func(d *report.Document) {
		d.Controls[0].Outcome = control.Waived
		d.Controls[0].Waiver = &report.Waiver{Reason: "r", Owner: "operations", Expires: time.Unix(1_800_000_000, 0).UTC()}
	}))
	if err != nil {
		t.Fatal(err)
	}
	if m := sent()[0].message; !strings.HasPrefix(m, "memory-swap-off: waived") || !strings.HasSuffix(m, "; waived by operations until 2027-01-15T08:00:00Z") {
		t.Errorf("got %q", m)
	}
}

func TestJournalFields(t *testing.T) {
	j, sent := recorder()
	if err := j.Report(document(nil)); err != nil {
		t.Fatal(err)
	}
	entries := sent()
	want := map[string]string{
		"MESSAGE_ID": telemetry.MessageControl, "STRONGROOM_CONTROL": "memory-swap-off", "STRONGROOM_OUTCOME": "fail",
		"STRONGROOM_SEVERITY": "must", "STRONGROOM_STAGE": "boot", "STRONGROOM_BASELINE": "b00b5",
	}
	for k, v := range want {
		if got := entries[0].fields[k]; got != v {
			t.Errorf("%s is %q, want %q", k, got, v)
		}
	}
	if got := entries[0].message; got != `memory-swap-off: fail: /proc/swaps: want "none", got "/dev/vda5"` {
		t.Errorf("message %q", got)
	}
	if got := entries[1].message; got != "time-chrony: unknown: chrony.service: no answer" {
		t.Errorf("message %q", got)
	}
	if got := entries[2].message; got != "verdict of stage boot: fail, 1 of 4 controls pass; must: memory-swap-off" {
		t.Errorf("message %q", got)
	}
	for _, id := range []string{telemetry.MessageControl, telemetry.MessageVerdict, telemetry.MessageJoin} {
		if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(id) {
			t.Errorf("message id %q is no 128-bit id", id)
		}
	}
}

// The agent does not repeat what the gate has said.
func TestJournalKnows(t *testing.T) {
	j, sent := recorder()
	j.Know(document(nil))
	if err := j.Report(document(nil)); err != nil || len(sent()) != 0 {
		t.Errorf("repeated; error %v", err)
	}
}

// A longer entry would make the journal's client write a file.
func TestJournalClipsMessages(t *testing.T) {
	j, sent := recorder()
	err := j.Report(document(func(d *report.Document) { d.Controls[0].Observations[1].Got = strings.Repeat("ä", 4000) }))
	if err != nil {
		t.Fatal(err)
	}
	if m := sent()[0].message; len(m) > 2100 || !strings.HasSuffix(m, "…") {
		t.Errorf("message of %d bytes", len(m))
	}
}

func TestJournalReportsItsErrors(t *testing.T) {
	j := telemetry.NewJournal(func(string, journal.Priority, map[string]string) error { return errors.New("no journal") })
	if err := j.Report(document(nil)); err == nil {
		t.Error("no error")
	}
}

func TestJournalTellsTheJoin(t *testing.T) {
	j, sent := recorder()
	for _, c := range []struct {
		join     telemetry.Join
		message  string // empty: no news
		priority journal.Priority
	}{
		{telemetry.Join{State: "waiting", Reason: "no leader yet"}, "join: waiting: no leader yet", journal.PriNotice},
		{telemetry.Join{State: "waiting", Reason: "no leader yet", Since: time.Unix(1, 0)}, "", 0},
		{telemetry.Join{State: "waiting", Reason: "the leader's clock is off"}, "join: waiting: the leader's clock is off", journal.PriNotice},
		{telemetry.Join{State: "refused", Reason: "an old id", Fault: true}, "join: refused: an old id", journal.PriErr},
		{telemetry.Join{State: "joining"}, "join: joining", journal.PriInfo},
		{telemetry.Join{State: "ready", Reason: "voter"}, "join: ready: voter", journal.PriInfo},
	} {
		if err := j.Join(c.join); err != nil {
			t.Fatal(err)
		}
		got := sent()
		if c.message == "" {
			if len(got) > 0 {
				t.Errorf("%+v was told again", c.join)
			}
			continue
		}
		if len(got) != 1 || got[0].message != c.message || got[0].priority != c.priority || got[0].fields["MESSAGE_ID"] != telemetry.MessageJoin ||
			got[0].fields["STRONGROOM_JOIN_STATE"] != c.join.State || got[0].fields["STRONGROOM_JOIN_REASON"] != c.join.Reason {
			t.Errorf("%+v: %+v", c.join, got)
		}
	}
}
