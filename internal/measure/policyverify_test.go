package measure_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/measure"
	"github.com/strongroom/strongroom/internal/secureboot/secureboottest"
)

func TestVerifyPolicies(t *testing.T) {
	key, err := measure.NewPolicyKey(secureboottest.Key(t, 2048))
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := measure.NewPolicyKey(secureboottest.Key(t, 2048))
	if err != nil {
		t.Fatal(err)
	}
	values := func(version string) []measure.PhaseValue {
		image, err := measure.ReadImage(bytes.NewReader(unified(version)))
		if err != nil {
			t.Fatal(err)
		}
		return image.PCR11()
	}
	public := func(k measure.PolicyKey) []byte {
		text, err := k.PEM()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	good, err := key.Sign(values("257.13"))
	if err != nil {
		t.Fatal(err)
	}
	sum, err := measure.VerifyPolicies(public(key), append(good, 0, 0), values("257.13"))
	if err != nil || sum != key.Fingerprint() {
		t.Errorf("%s, %v", sum, err)
	}
	other := values("257.13")
	other[1].SHA256[0] ^= 1
	spoilt := bytes.Clone(good)
	at := bytes.Index(spoilt, []byte(`"sig":"`)) + 20
	spoilt[at] = map[bool]byte{true: 'B', false: 'A'}[spoilt[at] == 'A']
	for name, tt := range map[string]struct {
		public, policies []byte
		values           []measure.PhaseValue
		says             string
	}{
		"of another image": {public(key), good, other, "no policy in .pcrsig is of what this image measures"},
		"another key":      {public(foreign), good, values("257.13"), "and .pcrpkey is"},
		"another byte":     {public(key), spoilt, values("257.13"), "policy"},
		"no key":           {nil, good, values("257.13"), "not PEM"},
		"no policies":      {public(key), nil, values("257.13"), "cannot be read"},
	} {
		if _, err := measure.VerifyPolicies(tt.public, tt.policies, tt.values); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, want %q", name, err, tt.says)
		}
	}
}
