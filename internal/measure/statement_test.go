package measure

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func statement() Statement {
	return Statement{
		Schema: Schema, Image: "vault", Version: "1.0", RootHash: strings.Repeat("ab", 32),
		Kernels: []Kernel{{
			Name: "disk", Stub: "systemd-stub 257.13-1~deb13u1", SHA256: strings.Repeat("cd", 32), Authenticode: Digest{1}, Certificate: Digest{2},
			CommandLine: "ro", PCR11: phaseValues(PCR{}), PCR4: Digest{3}, Firmware: []FirmwareValue{{Name: "lab", PCR7: Digest{4}}},
		}},
	}
}

func TestStatementRoundTrip(t *testing.T) {
	want := statement()
	text, err := want.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(string(text), "policy_key") {
		t.Error("a key that is not there is written as zeros")
	}
	k, ok := got.Kernel("disk")
	if !ok {
		t.Fatal("no kernel disk")
	}
	if _, ok := k.At("enter-initrd:leave-initrd"); !ok {
		t.Error("no value for the phase behind the initrd")
	}
	if _, ok := k.At("leave-initrd"); ok {
		t.Error("a value for a phase that does not exist")
	}
}

func TestParseRefuses(t *testing.T) {
	text, err := statement().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	good := string(text)
	for name, tt := range map[string]struct{ text, says string }{
		"nothing":        {"", "EOF"},
		"another schema": {strings.Replace(good, Schema, "strongroom.measurements/v2", 1), "schema"},
		"no kernel":      {`{"schema": "` + Schema + `", "kernels": []}`, "no kernel"},
		"unknown field":  {strings.Replace(good, `"image"`, `"imaeg"`, 1), "imaeg"},
		"short digest":   {strings.Replace(good, Digest{1}.String(), "0100", 1), "not a SHA-256"},
		"no hex":         {strings.Replace(good, Digest{1}.String(), strings.Repeat("zz", 32), 1), "not a SHA-256"},
		"two statements": {good + good, "something follows"},
		"no PCR 11":      {`{"schema": "` + Schema + `", "kernels": [{"name": "disk"}]}`, "no value of PCR 11"},
		"no name":        {`{"schema": "` + Schema + `", "kernels": [{"name": ""}]}`, "no name"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want an error that says %q", err, tt.says)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	text, err := statement().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"schema": "` + Schema + `", "kernels": [{"name": "disk", "pcr11": [{}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		again, err := s.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		other, err := Parse(again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s, other); diff != "" {
			t.Error(diff)
		}
	})
}
