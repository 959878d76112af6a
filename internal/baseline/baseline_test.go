package baseline_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/control"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func profiles() map[string]control.Profile {
	out := map[string]control.Profile{}
	for _, platform := range baseline.Platforms {
		for _, lock := range []string{"on", "off"} {
			p := checktest.Profile()
			p.Platform = platform
			p.Parameters = map[string]string{"memory_lock": lock}
			out[fmt.Sprintf("%s-%s-mlock-%s", p.Server, platform, lock)] = p
		}
	}
	for _, platform := range baseline.Platforms {
		p := checktest.OpenBaoProfile()
		p.Platform = platform
		out["openbao-"+platform] = p
	}
	p := checktest.Profile()
	p.Distribution = "debian/bookworm"
	out["vault-vm-bookworm"] = p
	p = checktest.Profile()
	p.Platform, p.Parameters = "metal", map[string]string{"data_encryption": "tpm"}
	out["vault-metal-encrypted"] = p
	for _, d := range baseline.Distributions("installed") {
		p := checktest.Profile()
		p.Layout, p.Distribution = "installed", d
		out["vault-vm-installed-"+strings.ReplaceAll(d, "/", "-")] = p
	}
	p = checktest.OpenBaoProfile()
	p.Layout, p.Platform = "installed", "cloud"
	out["openbao-cloud-installed"] = p
	return out
}

// The golden file of a profile is what a reviewer reads when a change to the catalogue changes
// images: digests, and one line for each file of the overlay.
func TestGoldenPerProfile(t *testing.T) {
	for name, p := range profiles() {
		t.Run(name, func(t *testing.T) {
			got := describe(t, checktest.Compile(t, p))
			file := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s differs; if the change is meant: go test ./internal/baseline -update\n%s", file, firstDifference(string(want), got))
			}
		})
	}
}

func describe(t *testing.T, b *baseline.Baseline) string {
	t.Helper()
	digest, err := b.Digest()
	must(t, err)
	tree, err := b.Overlay()
	must(t, err)
	overlayDigest, err := tree.Digest()
	must(t, err)
	var w strings.Builder
	fmt.Fprintf(&w, "baseline %s\noverlay  %s\n\n", digest, overlayDigest)
	for _, c := range b.Controls {
		fmt.Fprintf(&w, "control %-32s %-6s %s\n", c.ID, c.Severity, c.Stage)
	}
	w.WriteString("\n")
	for _, f := range tree.Fragments() {
		what := fmt.Sprintf("%04o %d:%d %d bytes", f.Mode.Perm(), f.UID, f.GID, len(f.Content))
		if f.Target != "" {
			what = "-> " + f.Target
		}
		fmt.Fprintf(&w, "%s  %s  (%s)\n", f.Path, what, tree.Owner(f.Path))
	}
	return w.String()
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d\n- %s\n+ %s", i+1, w[i], g[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A baseline that is written, read and written again has not changed by a byte: what hostcheck
// judges is what was compiled.
func TestJSONRoundTrip(t *testing.T) {
	for name, p := range profiles() {
		b := checktest.Compile(t, p)
		first, err := b.JSON()
		must(t, err)
		decoded, digest, err := baseline.Decode(bytes.NewReader(first))
		must(t, err)
		second, err := decoded.JSON()
		must(t, err)
		if !bytes.Equal(first, second) {
			t.Errorf("%s: %s", name, firstDifference(string(first), string(second)))
		}
		if want, _ := b.Digest(); digest != want {
			t.Errorf("%s: digest %s after reading, want %s", name, digest, want)
		}
	}
}

func TestNewerBaselineIsNamedAsSuch(t *testing.T) {
	j, err := checktest.Compile(t, checktest.Profile()).JSON()
	must(t, err)
	for name, text := range map[string]string{
		"schema": strings.Replace(string(j), baseline.Schema, "strongroom.baseline/v2", 1),
		"kind":   strings.Replace(string(j), `"kind": "swap"`, `"kind": "tpm_policy"`, 1),
	} {
		if text == string(j) {
			t.Fatal("the case changes nothing")
		}
		if _, _, err := baseline.Decode(strings.NewReader(text)); !errors.Is(err, baseline.ErrNewer) {
			t.Errorf("%s: got %v, want ErrNewer", name, err)
		}
	}
}

func TestDecodeRefusesWhatItDoesNotUnderstand(t *testing.T) {
	j, err := checktest.Compile(t, checktest.Profile()).JSON()
	must(t, err)
	for name, edit := range map[string][2]string{
		"unknown field of a control":  {`"severity": "must"`, `"severity": "must", "sevrity": "must"`},
		"unknown field of a resource": {`"name": "kernel.kptr_restrict"`, `"nam": "kernel.kptr_restrict"`},
		"severity":                    {`"severity": "must"`, `"severity": "may"`},
		"nonsense value":              {`"name": "kernel.kptr_restrict"`, `"name": "/etc/shadow"`},
		"not a baseline":              {baseline.Schema, "strongroom.report/v1"},
	} {
		text := strings.Replace(string(j), edit[0], edit[1], 1)
		if text == string(j) {
			t.Fatalf("%s: the case changes nothing", name)
		}
		if _, _, err := baseline.Decode(strings.NewReader(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, text := range []string{"", "{", "[]", string(j[:len(j)/2]), `{"schema":"strongroom.baseline/v1","controls":[]}`} {
		if _, _, err := baseline.Decode(strings.NewReader(text)); err == nil {
			t.Errorf("accepted %.20q", text)
		}
	}
}

func FuzzDecode(f *testing.F) {
	j, err := checktest.Compile(f, checktest.Profile()).JSON()
	must(f, err)
	f.Add(j)
	f.Add([]byte(`{"schema":"strongroom.baseline/v1","controls":[{"id":"a-b","severity":"must","stage":"boot","resources":[{"kind":"swap","fields":{}}]}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, _, err := baseline.DecodeBytes(raw)
		if err != nil {
			return
		}
		// What was accepted can be written, and read again to the same.
		first, err := b.JSON()
		must(t, err)
		again, _, err := baseline.DecodeBytes(first)
		must(t, err)
		second, err := again.JSON()
		must(t, err)
		if !bytes.Equal(first, second) {
			t.Error("changed by a round trip")
		}
	})
}

func TestEveryFamilyHasControls(t *testing.T) {
	b := checktest.Compile(t, checktest.Profile())
	var families []string
	for _, c := range b.Controls {
		families = append(families, c.Family)
	}
	for _, want := range []string{"identity", "memory", "network", "filesystem", "kernel", "services", "accounts", "time", "vault"} {
		if !slices.Contains(families, want) {
			t.Errorf("no control of family %s", want)
		}
	}
	if len(b.Controls) < 25 {
		t.Errorf("%d controls", len(b.Controls))
	}
}

func TestMemoryLockSelectsOneRule(t *testing.T) {
	for lock, ids := range map[string][2]string{
		"off": {"memory-lock-decided", "memory-lock-enforced"},
		"on":  {"memory-lock-enforced", "memory-lock-decided"},
	} {
		p := checktest.Profile()
		p.Parameters = map[string]string{"memory_lock": lock}
		b := checktest.Compile(t, p)
		if _, ok := b.Find(ids[0]); !ok {
			t.Errorf("memory_lock=%s lacks %s", lock, ids[0])
		}
		if _, ok := b.Find(ids[1]); ok {
			t.Errorf("memory_lock=%s has %s", lock, ids[1])
		}
	}
}
