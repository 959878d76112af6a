package plugin

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
)

const siteControls = `family: acme
controls:
  - id: acme-banner-shown
    title: The banner of Acme is in place
    severity: should
    stage: boot
    refs: ["ACME 12.3"]
    rationale: Legal asks for it.
    resources:
      - file: {path: /etc/issue, mode: "0644", uid: 0, gid: 0, content: "keep out\n"}
`

const siteWaivers = `waivers:
  - {control: acme-banner-shown, reason: the text is being written, owner: legal, expires: 9998-12-31}
`

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestPrepareSiteControlsAndWaivers(t *testing.T) {
	plain, err := prepare(t, minimal())
	if err != nil {
		t.Fatal(err)
	}
	controls := writeFile(t, "site.yaml", siteControls)
	site, err := prepare(t, with(map[string]any{"site_controls": []string{controls}}))
	if err != nil {
		t.Fatal(err)
	}
	if owner := site.plan.spec.Overlay.Owner("/etc/issue"); owner != "acme-banner-shown" {
		t.Errorf("the overlay's /etc/issue belongs to %q", owner)
	}
	waived, err := prepare(t, with(map[string]any{"site_controls": []string{controls}, "waivers": writeFile(t, "waivers.yaml", siteWaivers)}))
	if err != nil {
		t.Fatal(err)
	}
	if a, b, c := plain.plan.baselineDigest, site.plan.baselineDigest, waived.plan.baselineDigest; a == b || b == c {
		t.Errorf("the digests do not tell the baselines apart: %s, %s, %s", a, b, c)
	}
}

func TestPrepareNamesSiteControlsAndWaivers(t *testing.T) {
	for name, c := range map[string]struct {
		attribute, controls, waivers, says string
	}{
		"no such controls":       {"site_controls", "/nowhere/site.yaml", "", "no such file"},
		"mistake in controls":    {"site_controls", strings.Replace(siteControls, "title:", "titel:", 1), "", `site.yaml:4: unknown key "titel"`},
		"stated twice":           {"site_controls", strings.Replace(siteControls, `file: {path: /etc/issue, mode: "0644", uid: 0, gid: 0, content: "keep out\n"}`, `sysctl: {name: kernel.sysrq, value: "1"}`, 1), "", "kernel-keys-restricted"},
		"no such waivers":        {"waivers", "", "/nowhere/waivers.yaml", "no such file"},
		"mistake in waivers":     {"waivers", siteControls, strings.Replace(siteWaivers, "owner: legal, ", "", 1), "waivers.yaml:2: waiver of \"acme-banner-shown\": no owner"},
		"waiver of nothing":      {"waivers", "", siteWaivers, "no such control"},
		"waiver that has lapsed": {"waivers", siteControls, strings.Replace(siteWaivers, "9998-12-31", "2026-01-31", 1), "expired (2026-01-31)"},
	} {
		t.Run(name, func(t *testing.T) {
			changes := map[string]any{}
			file := func(name, content string) string {
				if strings.HasPrefix(content, "/") {
					return content
				}
				return writeFile(t, name, content)
			}
			if c.controls != "" {
				changes["site_controls"] = []string{file("site.yaml", c.controls)}
			}
			if c.waivers != "" {
				changes["waivers"] = file("waivers.yaml", c.waivers)
			}
			_, err := prepare(t, with(changes))
			var all *packersdk.MultiError
			if !errors.As(err, &all) || len(all.Errors) != 1 {
				t.Fatalf("got %v, want one mistake", err)
			}
			if got := all.Errors[0].Error(); !strings.HasPrefix(got, c.attribute+": ") || !strings.Contains(got, c.says) {
				t.Errorf("got %q, want %s and %q", got, c.attribute, c.says)
			}
		})
	}
}
