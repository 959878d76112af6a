package baseline_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/control"
)

const goodWaivers = `# agreed on 2026-11-02
waivers:
  - control: time-source-known
    reason: >
      the clock of the hypervisor is used until the new time servers are there
    owner: network team
    expires: 2027-01-31T00:00:00Z
  - {control: memory-swap-off, reason: migration, owner: storage team, expires: 2027-01-31}
`

var bakedAt = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

// waivable is the text with the names of controls that the catalogue has.
func waivable(text string) string {
	return strings.Replace(text, "time-source-known", "clock-disciplined", 1)
}

func waive(t *testing.T, text string, now time.Time) (*baseline.Baseline, error) {
	t.Helper()
	b := checktest.Compile(t, checktest.Profile())
	w, err := baseline.ParseWaivers("waivers.yaml", []byte(text))
	if err != nil {
		return nil, err
	}
	return b, b.Waive(w, control.Lapsed(now))
}

func TestWaiversTravelInTheBaseline(t *testing.T) {
	b, err := waive(t, waivable(goodWaivers), bakedAt)
	must(t, err)
	j, err := b.JSON()
	must(t, err)
	decoded, _, err := baseline.DecodeBytes(j)
	must(t, err)
	again, err := decoded.JSON()
	must(t, err)
	if !bytes.Equal(j, again) {
		t.Error(firstDifference(string(j), string(again)))
	}
	if len(decoded.Waivers) != 2 || decoded.Waivers[0].Control != "clock-disciplined" {
		t.Fatalf("waivers %+v", decoded.Waivers)
	}
	clock, swap := decoded.Waiver("clock-disciplined"), decoded.Waiver("memory-swap-off")
	if want := time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC); !clock.Expires.Equal(want) || clock.Owner != "network team" || !strings.HasSuffix(clock.Reason, "are there") {
		t.Errorf("%+v", clock)
	}
	if want := time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC); !swap.Expires.Equal(want) {
		t.Errorf("a day ends at %s", swap.Expires)
	}
	if decoded.Waiver("ssh-absent") != nil {
		t.Error("a control that nobody waived has a waiver")
	}
	plain, err := checktest.Compile(t, checktest.Profile()).Digest()
	must(t, err)
	if digest, _ := b.Digest(); digest == plain {
		t.Error("a waiver does not change the digest")
	}
}

func TestMistakesOfWaiversNameFileAndLine(t *testing.T) {
	cases := map[string]struct{ old, new, place, says string }{
		"unknown key":                {"owner: network", "owners: network", "waivers.yaml:6:", `unknown key "owners"`},
		"unknown key on top":         {"waivers:", "waiver:", "waivers.yaml:2:", `unknown key "waiver"`},
		"unknown control":            {"clock-disciplined", "clock-undisciplined", "waivers.yaml:3:", "no such control"},
		"control of another profile": {"clock-disciplined", "memory-lock-enforced", "waivers.yaml:3:", "no such control"},
		"procedure":                  {"clock-disciplined", "offboarding-done", "waivers.yaml:3:", "nothing to waive"},
		"twice":                      {"clock-disciplined", "memory-swap-off", "waivers.yaml:8:", "already, in line 3"},
		"no control":                 {"control: clock-disciplined\n    ", "", "waivers.yaml:3:", "not the id"},
		"no reason":                  {"reason: migration, ", "", "waivers.yaml:8:", "no reason"},
		"empty reason":               {"reason: migration", "reason: '  '", "waivers.yaml:8:", "no reason"},
		"no owner":                   {", owner: storage team", "", "waivers.yaml:8:", "no owner"},
		"no expiry":                  {", expires: 2027-01-31}", "}", "waivers.yaml:8:", "no expiry"},
		"half a date":                {"expires: 2027-01-31}", "expires: 2027-01}", "waivers.yaml:8:", `"2027-01"`},
		"a year":                     {"expires: 2027-01-31}", "expires: 2027}", "waivers.yaml:8:", `"2027"`},
		"another offset":             {"00:00:00Z", "00:00:00+01:00", "waivers.yaml:3:", "UTC"},
		"no offset":                  {"00:00:00Z", "00:00:00", "waivers.yaml:3:", "UTC"},
		"expired":                    {"expires: 2027-01-31}", "expires: 2026-11-21}", "waivers.yaml:8:", "has expired (2026-11-21)"},
		"second document":            {"  - {control", "---\n  - {control", "waivers.yaml:", "second document"},
		"alias":                      {"reason: migration", "reason: *r", "waivers.yaml", "unknown anchor"},
		"wrong type":                 {"owner: storage team", "owner: [storage]", "waivers.yaml:", "cannot unmarshal"},
		"key twice":                  {"reason: migration", "reason: migration, reason: other", "waivers.yaml:", "already defined"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			good := waivable(goodWaivers)
			text := strings.Replace(good, c.old, c.new, 1)
			if text == good {
				t.Fatal("the case changes nothing")
			}
			_, err := waive(t, text, bakedAt)
			if err == nil || !strings.Contains(err.Error(), c.place) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want it to name %q and say %q", err, c.place, c.says)
			}
		})
	}
	for name, text := range map[string]string{"nothing": "", "a comment": "# none\n", "no list": "waivers:\n", "empty list": "waivers: []\n", "a word": "none\n"} {
		if _, err := waive(t, text, bakedAt); err == nil || !strings.Contains(err.Error(), "waivers.yaml:1") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A day that is today still covers it.
func TestAWaiverOfTodayHasNotExpired(t *testing.T) {
	if _, err := waive(t, waivable(strings.Replace(goodWaivers, "expires: 2027-01-31}", "expires: 2026-11-22}", 1)), bakedAt.Add(23*time.Hour)); err != nil {
		t.Error(err)
	}
}

// A baseline on a host is read as strictly as the file that it came from.
func TestDecodeRefusesWaiversThatMeanNothing(t *testing.T) {
	b, err := waive(t, waivable(goodWaivers), bakedAt)
	must(t, err)
	j, err := b.JSON()
	must(t, err)
	for says, edit := range map[string][2]string{
		"no such control": {`"control": "clock-disciplined"`, `"control": "clock-undisciplined"`},
		"there are two":   {`"control": "clock-disciplined"`, `"control": "memory-swap-off"`},
		"no owner":        {`"owner": "network team"`, `"owner": ""`},
		"no expiry":       {`"expires": "2027-01-31T00:00:00Z"`, `"expires": "0001-01-01T00:00:00Z"`},
		"unknown field":   {`"owner": "network team"`, `"owner": "network team", "forever": true`},
	} {
		text := strings.Replace(string(j), edit[0], edit[1], 1)
		if text == string(j) {
			t.Fatalf("%s: the case changes nothing", says)
		}
		if _, _, err := baseline.DecodeBytes([]byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
}

func FuzzParseWaivers(f *testing.F) {
	f.Add([]byte(waivable(goodWaivers)))
	f.Add([]byte("waivers:\n- {control: a-b, reason: r, owner: o, expires: 9999-12-30}\n"))
	f.Add([]byte("waivers: [~]"))
	f.Add([]byte("waivers: &a [*a]"))
	f.Add([]byte("<<: {waivers: []}"))
	b := checktest.Compile(f, checktest.Profile())
	f.Fuzz(func(t *testing.T, raw []byte) {
		w, err := baseline.ParseWaivers("waivers.yaml", raw)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "waivers.yaml") {
				t.Errorf("the error does not name the file: %v", err)
			}
			return
		}
		b.Waivers = nil
		if err := b.Waive(w, control.Lapsed(bakedAt)); err != nil {
			return
		}
		j, err := b.JSON()
		must(t, err)
		if _, _, err := baseline.DecodeBytes(j); err != nil {
			t.Errorf("accepted waivers make a baseline that cannot be read: %v", err)
		}
	})
}
