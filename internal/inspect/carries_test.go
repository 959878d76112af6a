package inspect_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/inspect"
	"github.com/strongroom/strongroom/internal/leaks"
	"github.com/strongroom/strongroom/internal/overlay"
)

// A secret in the root fails the image, and is named without being shown; what the asker allows may stay.
func TestLeaks(t *testing.T) {
	const token = "hvs.CAESIJ" + "m3Gv0qzT8wYbKpXcR4nLsE7uHd2ZfJ9aQoW1iMxUtVy6"
	s := build(t, recipe{version: "1.0.0", edit: func(t testing.TB, tree string) { put(t, tree, "etc/agent.conf", "token = \""+token+"\"\n") }})
	i := look(t, s.disk, s.options())
	if i.Verdict != inspect.Fail || len(i.Root.Leaks) != 1 || i.Root.Leaks[0].Path != "/etc/agent.conf" {
		t.Fatalf("verdict %s, leaks %+v", i.Verdict, i.Root.Leaks)
	}
	var out strings.Builder
	if err := inspect.WriteText(&out, i, false); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "/etc/agent.conf:1") || strings.Contains(out.String(), token) {
		t.Errorf("want the place without the token:\n%s", out.String())
	}
	matches(t, "../../docs/schema/inspection-v1.json", i)

	o := s.options()
	o.AllowedLeaks = []leaks.Allowance{{Path: "/etc/agent.conf", Kind: i.Root.Leaks[0].Kind, Reason: "a test's"}}
	if i := look(t, s.disk, o); i.Verdict != inspect.Pass {
		t.Errorf("allowed: verdict %s: %q", i.Verdict, bad(i, inspect.Fail))
	}
	o.AllowedLeaks = append(o.AllowedLeaks, leaks.Allowance{Path: "/nowhere", Kind: "netrc", Reason: "a test's"})
	if i := look(t, s.disk, o); i.Verdict != inspect.Unknown {
		t.Errorf("an allowance of nothing: verdict %s", i.Verdict)
	}
}

// The signature of the baseline is judged by the key beside it.
func TestBaselineSignature(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(t testing.TB, tree string) {
		content, err := os.ReadFile(filepath.Join(tree, baseline.Path))
		if err != nil {
			t.Fatal(err)
		}
		var plan overlay.Tree
		if err := plan.Add("baseline", overlay.File(baseline.Path, string(content))); err != nil {
			t.Fatal(err)
		}
		if err := baseline.Sign(&plan, key); err != nil {
			t.Fatal(err)
		}
		for _, f := range plan.Fragments() {
			put(t, tree, f.Path, string(f.Content))
		}
	}
	for name, c := range map[string]struct {
		edit func(t testing.TB, tree string)
		want inspect.Verdict
		says string
	}{
		"none":   {nil, inspect.Absent, "not signed"},
		"signed": {sign, inspect.Pass, "by the key in the root"},
		"edited": {func(t testing.TB, tree string) {
			sign(t, tree)
			content, err := os.ReadFile(filepath.Join(tree, baseline.Path))
			if err != nil {
				t.Fatal(err)
			}
			put(t, tree, baseline.Path, strings.Replace(string(content), `"should"`, `"must"`, 1)+" ")
		}, inspect.Fail, "not the one that was signed"},
		"without its key": {func(t testing.TB, tree string) {
			sign(t, tree)
			if err := os.Remove(filepath.Join(tree, baseline.KeyPath)); err != nil {
				t.Fatal(err)
			}
		}, inspect.Fail, "belong together"},
	} {
		t.Run(name, func(t *testing.T) {
			s := build(t, recipe{version: "1.0.0", edit: c.edit})
			i := look(t, s.disk, s.options())
			for _, check := range i.Checks {
				if check.ID == "baseline-signature" {
					if check.Verdict != c.want || !strings.Contains(check.Says, c.says) {
						t.Errorf("%s: %s, want %s with %q", check.Verdict, check.Says, c.want, c.says)
					}
					return
				}
			}
			t.Errorf("the signature was not looked at: %+v", i.Checks)
		})
	}
}
