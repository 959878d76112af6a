package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSiteControlsAndWaivers(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	site := file("site.yaml", `family: acme
controls:
  - id: acme-banner-shown
    title: The banner of Acme is in place
    severity: should
    stage: boot
    refs: ["ACME 12.3"]
    rationale: Legal asks for it.
    resources:
      - file: {path: /etc/issue, mode: "0644", uid: 0, gid: 0, content: "keep out\n"}
`)
	more := file("more.yaml", `family: acme-more
controls:
  - id: acme-talk-held
    title: Somebody has talked to the auditor
    severity: should
    stage: image
    refs: ["ACME 12.4"]
    rationale: Legal asks for it.
    resources:
      - procedure: {name: acme-talk, reason: Nobody can see it from here.}
`)
	waivers := file("waivers.yaml", "waivers:\n  - {control: acme-banner-shown, reason: the text is being written, owner: legal, expires: 9998-12-31}\n")
	lapsed := file("lapsed.yaml", "waivers:\n  - {control: acme-banner-shown, reason: the text is being written, owner: legal, expires: 2026-01-31}\n")
	broken := file("broken.yaml", "family: acme\ncontrol: []\n")

	code, out, stderr := cli("controls", "--controls", site, "--controls", more, "--waivers", waivers)
	if code != 0 {
		t.Fatal(stderr)
	}
	for _, want := range []string{"acme-banner-shown", "acme-talk-held", "the text is being written"} {
		if !strings.Contains(out, want) {
			t.Errorf("the list lacks %q", want)
		}
	}
	overlay := filepath.Join(dir, "overlay.tar")
	digest := func(args ...string) string {
		t.Helper()
		code, out, stderr := cli(append([]string{"overlay", "--output", overlay}, args...)...)
		if code != 0 {
			t.Fatal(stderr)
		}
		return strings.Fields(out)[0]
	}
	plain, with, waived := digest(), digest("--controls", site), digest("--controls", site, "--waivers", waivers)
	if plain == with || with == waived {
		t.Errorf("the overlays are the same: %s, %s, %s", plain, with, waived)
	}

	for says, args := range map[string][]string{
		"site.yaml: no such file":                                                           {"--controls", "/nowhere/site.yaml"},
		`broken.yaml:2: unknown key "control"`:                                              {"--controls", broken},
		`"acme" is there already, at ` + site + ":1":                                        {"--controls", site, "--controls", site},
		"waivers.yaml:2: waiver of \"acme-banner-shown\": this profile has no such control": {"--waivers", waivers},
		"lapsed.yaml:2": {"--controls", site, "--waivers", lapsed},
	} {
		code, stdout, stderr := cli(append([]string{"overlay", "--output", overlay}, args...)...)
		if code != 1 || stdout != "" || !strings.Contains(stderr, says) {
			t.Errorf("%v: exit status %d, %q, want %q", args, code, stderr, says)
		}
	}
}
