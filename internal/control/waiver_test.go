package control_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/control"
)

func TestParseExpiry(t *testing.T) {
	for text, want := range map[string]string{
		"2027-01-31T12:30:00Z": "2027-01-31T12:30:00Z",
		"2027-01-31":           "2027-02-01T00:00:00Z", // to the end of the day
		"2027-12-31":           "2028-01-01T00:00:00Z",
		"2028-02-29":           "2028-03-01T00:00:00Z",
		"9999-12-30":           "9999-12-31T00:00:00Z",
	} {
		got, err := control.ParseExpiry(text)
		if err != nil || got.Format(time.RFC3339) != want || got.Location() != time.UTC {
			t.Errorf("%q reads as %s, %v; want %s", text, got, err, want)
		}
	}
	for _, bad := range []string{
		"", "never", "2027", "2027-01", "2027-1-31", "2027-02-29", "2027-13-01", "31.01.2027", "01/31/2027", "9999-12-31",
		"2027-01-31T12:30:00", "2027-01-31 12:30:00Z", "2027-01-31T12:30:00+01:00", "2027-01-31T12:30:00+00:00", "2027-01-31t12:30:00z",
		"2027-01-31T12:30Z", "2027-01-31T12:30:00.5Z", "2027-01-31T24:00:00Z", " 2027-01-31", "2027-01-31\n", "1801353600",
	} {
		if got, err := control.ParseExpiry(bad); err == nil {
			t.Errorf("%q reads as %s", bad, got)
		} else if bad != "9999-12-31" && !strings.Contains(err.Error(), "2027-01-31T12:00:00Z") {
			t.Errorf("the error for %q shows no way out: %v", bad, err)
		}
	}
}

// A day is what people write when they mean "to the end of it", wherever they are.
func TestADayHoldsToItsEnd(t *testing.T) {
	expires, err := control.ParseExpiry("2027-01-31")
	if err != nil {
		t.Fatal(err)
	}
	w := control.Waiver{Expires: expires}
	for at, want := range map[string]bool{"2027-01-31T00:00:00Z": true, "2027-01-31T23:59:59Z": true, "2027-02-01T00:00:00Z": false, "2027-01-31T23:30:00-01:00": false} {
		now, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if w.Covers(now) != want || control.Lapsed(now)(w) == want {
			t.Errorf("at %s: covers %t", at, !want)
		}
	}
}

func TestAWaiverIsADecision(t *testing.T) {
	whole := control.Waiver{Control: "memory-swap-off", Reason: "r", Owner: "o", Expires: time.Unix(1, 0)}
	if err := whole.Valid(); err != nil {
		t.Error(err)
	}
	for says, lacking := range map[string]control.Waiver{
		"no reason":  {Control: whole.Control, Owner: "o", Expires: whole.Expires},
		"no owner":   {Control: whole.Control, Reason: "r", Expires: whole.Expires},
		"no expiry":  {Control: whole.Control, Reason: "r", Owner: "o"},
		"not the id": {Control: "swap", Reason: "r", Owner: "o", Expires: whole.Expires},
	} {
		if err := lacking.Valid(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
}

func FuzzParseExpiry(f *testing.F) {
	for _, seed := range []string{"2027-01-31", "2027-01-31T12:30:00Z", "9999-12-31", "2027-01-31T12:30:00+01:00", "0000-01-01", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := control.ParseExpiry(text)
		if err != nil {
			return
		}
		// What was accepted travels in the baseline, and comes back the same.
		j, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		var back time.Time
		if err := json.Unmarshal(j, &back); err != nil || !back.Equal(got) {
			t.Errorf("%q became %s and then %s, %v", text, got, back, err)
		}
	})
}
