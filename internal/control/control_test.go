package control_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/control"
)

func observations(outcomes ...control.Outcome) []control.Observation {
	out := make([]control.Observation, len(outcomes))
	for i, o := range outcomes {
		out[i].Outcome = o
	}
	return out
}

// Fail > unknown > waived > pass > pending > not applicable, in whatever order they come.
func TestWorst(t *testing.T) {
	order := []control.Outcome{control.Fail, control.Unknown, control.Waived, control.Pass, control.Pending, control.NotApplicable}
	for i, worse := range order {
		if got := control.Worst(observations(worse)); got != worse {
			t.Errorf("%s alone is %s", worse, got)
		}
		for _, better := range order[i:] {
			for _, obs := range [][]control.Observation{observations(worse, better), observations(better, worse), observations(better, worse, better)} {
				if got := control.Worst(obs); got != worse {
					t.Errorf("%s with %s is %s", worse, better, got)
				}
			}
		}
	}
	if got := control.Worst(nil); got != control.Unknown {
		t.Errorf("nothing looked at is %s", got)
	}
	if got := control.Worst(observations(control.Outcome(99), control.Pass)); got != control.Unknown {
		t.Errorf("an outcome that does not exist is %s", got)
	}
}

// The zero value of an observation must not pass.
func TestZeroObservationIsUnknown(t *testing.T) {
	if got := control.Worst([]control.Observation{{}}); got != control.Unknown {
		t.Errorf("an empty observation is %s", got)
	}
}

func TestOutcomeText(t *testing.T) {
	for o, want := range map[control.Outcome]string{
		control.Unknown: "unknown", control.Fail: "fail", control.Waived: "waived", control.Pending: "pending",
		control.Pass: "pass", control.NotApplicable: "not-applicable",
	} {
		b, err := json.Marshal(o)
		if err != nil || string(b) != `"`+want+`"` {
			t.Errorf("%d is written %s, %v; want %s", o, b, err, want)
		}
		back := control.Outcome(-1)
		if err := json.Unmarshal(b, &back); err != nil || back != o {
			t.Errorf("%s reads as %v, %v", b, back, err)
		}
	}
	for _, o := range []control.Outcome{-1, 6} {
		if o.String() != "unknown" {
			t.Errorf("outcome %d reads %q: what is not known must not look like a pass", o, o)
		}
	}
	for _, bad := range []string{"", "Pass", "passed"} {
		o := control.Pass
		if err := o.UnmarshalText([]byte(bad)); err == nil || !strings.Contains(err.Error(), "unknown outcome") {
			t.Errorf("%q reads as %s, %v", bad, o, err)
		}
	}
}

func TestStageText(t *testing.T) {
	names := []string{"image", "boot", "run", "member"}
	for i, want := range names {
		s := control.Stage(i)
		b, err := s.MarshalText()
		if err != nil || string(b) != want {
			t.Errorf("stage %d is written %q, %v; want %s", i, b, err, want)
		}
		back := control.Stage(-1)
		if err := back.UnmarshalText(b); err != nil || back != s {
			t.Errorf("%s reads as %v, %v", b, back, err)
		}
		if s.Runs() != (want != "image") {
			t.Errorf("stage %s: Runs is %v", want, s.Runs())
		}
	}
	if !(control.StageImage < control.StageBoot && control.StageBoot < control.StageRun && control.StageRun < control.StageMember) {
		t.Error("stages are not in the order of a node's life")
	}
	for _, s := range []control.Stage{-1, 4} {
		if s.String() != "invalid" {
			t.Errorf("stage %d reads %q", s, s)
		}
	}
	for _, bad := range []string{"", "Boot", "invalid"} {
		s := control.StageRun
		if err := s.UnmarshalText([]byte(bad)); err == nil || s != control.StageRun {
			t.Errorf("%q reads as %s, %v", bad, s, err)
		}
		if _, err := control.ParseStage(bad); err == nil || !strings.Contains(err.Error(), "image, boot, run, member") {
			t.Errorf("the error for %q does not say what is known: %v", bad, err)
		}
	}
}

func TestValidID(t *testing.T) {
	for id, want := range map[string]bool{
		"memory-swap-off": true, "ssh-absent": true, "a-1": true, "tls12-only": true,
		"": false, "swap": false, "Memory-swap": false, "memory_swap": false, "memory--swap": false, "-swap-off": false,
		"swap-off-": false, "1-swap": false, "memory swap": false, "memory-swap\n": false, "mémoire-swap": false,
	} {
		if got := control.ValidID(id); got != want {
			t.Errorf("%q: %v", id, got)
		}
	}
}

func TestKeyText(t *testing.T) {
	k := control.Key{Kind: "sysctl", Name: "kernel.sysrq"}
	if k.String() != "sysctl:kernel.sysrq" {
		t.Errorf("key reads %s", k)
	}
	b, err := json.Marshal(k)
	if err != nil || string(b) != `{"kind":"sysctl","name":"kernel.sysrq"}` {
		t.Errorf("key is written %s, %v", b, err)
	}
}
