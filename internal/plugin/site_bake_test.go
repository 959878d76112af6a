//go:build bake

package plugin_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/report"
)

// A control of the user's own is baked and judged: what breaks it fails the build, and a waiver lets it pass as what
// it is.
func TestSiteControlsAndWaiversInABake(t *testing.T) {
	w := setUp(t)
	bake := func(attributes string) (dir, out string, code int) {
		dir = w.template(t, w.vault()+"\n  site_controls = [\"site.yaml\"]\n"+attributes, `provisioner "shell" { inline = ["touch /usr/lib/acme-tool"] }`)
		for name, content := range map[string]string{
			"site.yaml": `family: acme
controls:
  - id: acme-tool-absent
    title: The tool of Acme is not there
    severity: must
    stage: boot
    refs: ["ACME 12.3"]
    rationale: It has no business on a node.
    fix: take it out of the provisioner
    resources:
      - absent: {path: /usr/lib/acme-tool}
  - id: acme-banner-shown
    title: The banner of Acme is in place
    severity: must
    stage: boot
    refs: ["ACME 12.4"]
    rationale: Legal asks for it.
    fix: rebuild the image
    resources:
      - file: {path: /usr/lib/acme-banner, mode: "0644", uid: 0, gid: 0, content: "keep out\n"}
`,
			"waivers.yaml": "waivers:\n  - {control: acme-tool-absent, reason: needed for the migration, owner: operations, expires: 9998-12-31}\n",
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		out, code = run(t, w.command(t, dir, "build", "."))
		return dir, out, code
	}

	if _, out, code := bake(""); code == 0 || !strings.Contains(out, "acme-tool-absent (fail)") || strings.Contains(out, "acme-banner-shown (") {
		t.Errorf("exit status %d, want a failure that names acme-tool-absent alone", code)
	}

	dir, _, code := bake(`  waivers = "waivers.yaml"`)
	if code != 0 {
		t.Fatal("the build failed although the failure is waived")
	}
	text, err := os.Open(filepath.Join(dir, "out/image-report.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	d, err := report.ReadJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	if d.Verdict != check.Pass || d.Summary[control.Waived.String()] != 1 {
		t.Errorf("verdict %s, %v", d.Verdict, d.Summary)
	}
	for _, c := range d.Controls {
		switch {
		case c.ID == "acme-tool-absent" && (c.Outcome != control.Waived || c.Waiver == nil || c.Waiver.Owner != "operations"):
			t.Errorf("%s is %s, waiver %+v", c.ID, c.Outcome, c.Waiver)
		case c.ID == "acme-banner-shown" && c.Outcome != control.Pass:
			t.Errorf("%s is %s", c.ID, c.Outcome)
		}
	}
	if len(d.Guide) != 36 {
		t.Errorf("%d items of the guide", len(d.Guide))
	}
}
