package baseline_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/hardening"
	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/control"
)

const goodSite = `family: acme
parameters:
  - {name: acme_banner, type: string, default: authorised use only, pattern: "[a-z ]+", description: What acme says.}
controls:
  - id: acme-banner-shown
    title: The banner of Acme is in place on ${server.name} nodes
    severity: should
    stage: boot
    refs: ["ACME 12.3"]
    rationale: Legal asks for it.
    fix: rebuild the image
    resources:
      - file: {path: /etc/issue, mode: "0644", uid: 0, gid: 0, content: "${acme_banner}\n"}
  - id: acme-swap-quiet
    title: The kernel does not like to swap
    severity: must
    stage: boot
    guide: [B4]
    rationale: Belt and braces.
    resources:
      - sysctl: {name: vm.swappiness, value: "0"}
`

func site(t testing.TB, files ...baseline.File) (*baseline.Catalogue, error) {
	t.Helper()
	c, err := hardening.Load()
	must(t, err)
	return c.With(files...)
}

// A site control is baked and judged like ours.
func TestSiteControlsAreControls(t *testing.T) {
	c, err := site(t, baseline.File{Name: "controls/site.yaml", Content: []byte(goodSite)})
	must(t, err)
	p := checktest.Profile()
	p.Parameters = map[string]string{"acme_banner": "keep out"}
	b, err := c.Compile(p)
	must(t, err)
	tree, err := b.Overlay()
	must(t, err)
	if owner := tree.Owner("/etc/issue"); owner != "acme-banner-shown" {
		t.Errorf("the banner belongs to %q", owner)
	}
	banner, _ := b.Find("acme-banner-shown")
	if banner.Title != "The banner of Acme is in place on Vault nodes" || banner.Family != "acme" {
		t.Errorf("%+v", banner)
	}

	j, err := b.JSON()
	must(t, err)
	decoded, _, err := baseline.DecodeBytes(j)
	must(t, err)
	again, err := decoded.JSON()
	must(t, err)
	if !bytes.Equal(j, again) {
		t.Error(firstDifference(string(j), string(again)))
	}

	h := checktest.Node(t, b)
	outcomes := func() (banner, swap control.Outcome, verdict check.Verdict) {
		r := check.Run(t.Context(), decoded, "digest", h, control.StageBoot, check.Options{})
		for _, c := range r.Controls {
			switch c.Control.ID {
			case "acme-banner-shown":
				banner = c.Outcome
			case "acme-swap-quiet":
				swap = c.Outcome
			}
		}
		for _, g := range r.Guide {
			if g.Item.ID == "B4" && !slices.Contains(g.Controls, "acme-swap-quiet") {
				t.Error("a site control that cites the guide is not counted there")
			}
		}
		return banner, swap, r.Verdict
	}
	if banner, swap, verdict := outcomes(); banner != control.Pass || swap != control.Pass || verdict != check.Pass {
		t.Errorf("banner %s, swap %s, verdict %s", banner, swap, verdict)
	}
	h.File("/etc/issue", "welcome\n").File("/proc/sys/vm/swappiness", "60\n")
	if banner, swap, verdict := outcomes(); banner != control.Fail || swap != control.Fail || verdict != check.Fail {
		t.Errorf("broken: banner %s, swap %s, verdict %s", banner, swap, verdict)
	}
}

// Without site controls the baseline is the catalogue's, and the catalogue itself never changes.
func TestWithChangesNothingElse(t *testing.T) {
	plain := checktest.Compile(t, checktest.Profile())
	want, err := plain.Digest()
	must(t, err)
	c, err := hardening.Load()
	must(t, err)
	same, err := c.With()
	must(t, err)
	if _, err := c.With(baseline.File{Name: "site.yaml", Content: []byte(goodSite)}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*baseline.Catalogue{c, same} {
		b, err := c.Compile(checktest.Profile())
		must(t, err)
		if got, _ := b.Digest(); got != want {
			t.Errorf("digest %s, want %s", got, want)
		}
	}
}

func TestMistakesOfSiteControlsNameFileAndLine(t *testing.T) {
	cases := map[string]struct{ old, new, place, says string }{
		"unknown key":           {"    fix:", "    fixx:", "controls/site.yaml:11:", `unknown key "fixx"`},
		"unknown kind":          {"- sysctl:", "- sysctll:", "controls/site.yaml:21:", `unknown kind "sysctll"`},
		"family of ours":        {"family: acme", "family: memory", "controls/site.yaml:1:", `family "memory" is there already, at memory.yaml:1`},
		"no family":             {"family: acme\n", "", "controls/site.yaml:1:", `family ""`},
		"id of ours":            {"id: acme-swap-quiet", "id: memory-swap-off", "controls/site.yaml:14:", `control "memory-swap-off" is there already, at memory.yaml:`},
		"id twice":              {"id: acme-swap-quiet", "id: acme-banner-shown", "controls/site.yaml:14:", "is there already, at controls/site.yaml:5"},
		"parameter of ours":     {"name: acme_banner", "name: memory_lock", "controls/site.yaml:3:", `parameter "memory_lock" is there already, at memory.yaml:`},
		"unknown guide item":    {"guide: [B4]", "guide: [B99]", "controls/site.yaml:14:", `"B99"`},
		"neither guide nor ref": {"    refs: [\"ACME 12.3\"]\n", "", "controls/site.yaml:5:", "where it comes from"},
		"no rationale":          {"    rationale: Legal asks for it.\n", "", "controls/site.yaml:5:", "no rationale"},
		"unknown parameter":     {"${acme_banner}", "${acme_baner}", "controls/site.yaml:13:", "${acme_baner}"},
		"bad default":           {"default: authorised use only", "default: 'NO'", "acme_banner", "does not match"},
		"procedure as must":     {"- sysctl: {name: vm.swappiness, value: \"0\"}", "- procedure: {name: acme-talk, reason: Talk.}", "controls/site.yaml:14:", "never judged"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(goodSite, c.old, c.new, 1)
			if text == goodSite {
				t.Fatal("the case changes nothing")
			}
			_, err := site(t, baseline.File{Name: "controls/site.yaml", Content: []byte(text)})
			if err == nil || !strings.Contains(err.Error(), c.place) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want it to name %q and say %q", err, c.place, c.says)
			}
		})
	}
	second := baseline.File{Name: "b.yaml", Content: []byte(strings.ReplaceAll(goodSite, "acme-", "other-"))}
	if _, err := site(t, baseline.File{Name: "a.yaml", Content: []byte(goodSite)}, second); err == nil || !strings.Contains(err.Error(), `b.yaml:1: family "acme" is there already, at a.yaml:1`) {
		t.Errorf("two files of one family: %v", err)
	}
}

// Two values for one thing cannot both be right.
func TestASiteControlCannotOverrideOurs(t *testing.T) {
	text := strings.Replace(goodSite, `name: vm.swappiness, value: "0"`, `name: kernel.sysrq, value: "1"`, 1)
	c, err := site(t, baseline.File{Name: "site.yaml", Content: []byte(text)})
	must(t, err)
	_, err = c.Compile(checktest.Profile())
	for _, want := range []string{"site.yaml:21:", "acme-swap-quiet", "kernel-keys-restricted", "sysctl:kernel.sysrq", "kernel.yaml:"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}

func FuzzSiteControls(f *testing.F) {
	f.Add([]byte(goodSite))
	f.Add([]byte("family: a\ncontrols: [{id: a-b, resources: [~]}]"))
	f.Add([]byte("family: a\nparameters: [{name: ''}]\ncontrols: []"))
	f.Add([]byte("family: a\ncontrols:\n- id: a-b\n  title: t\n  severity: should\n  stage: image\n  refs: [r]\n  rationale: r\n  when: {server: vault}\n  resources:\n  - procedure: {name: a, reason: r}\n"))
	f.Add([]byte("family: a\ncontrols:\n- id: a-b\n  resources:\n  - file: &f {path: /a, content: *f}\n"))
	// A small catalogue of our own, so that executions are cheap.
	c, err := baseline.Parse(family("memory.yaml", good), nil)
	must(f, err)
	f.Fuzz(func(t *testing.T, raw []byte) {
		all, err := c.With(baseline.File{Name: "site.yaml", Content: raw})
		if err != nil {
			return
		}
		b, err := all.Compile(checktest.Profile())
		if err != nil {
			return
		}
		j, err := b.JSON()
		must(t, err)
		decoded, _, err := baseline.DecodeBytes(j)
		if err != nil {
			t.Fatalf("accepted site controls make a baseline that cannot be read: %v", err)
		}
		again, err := decoded.JSON()
		must(t, err)
		if !bytes.Equal(j, again) {
			t.Error("changed by a round trip")
		}
	})
}
