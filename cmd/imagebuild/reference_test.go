package main

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/hardening"
	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/resource"
)

// An auditor finds every item of the guide, every control of every profile and every resource in the reference.
func TestReferenceIsWhole(t *testing.T) {
	_, out, stderr := cli("controls", "--markdown")
	if stderr != "" {
		t.Fatal(stderr)
	}
	catalogue, err := hardening.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range catalogue.Guide.Items {
		row := regexp.MustCompile(`(?m)^\| \*\*` + item.ID + `\*\* .*\|$`).FindString(out)
		if row == "" || !strings.Contains(row, item.Asks) || !strings.Contains(row, "](#") {
			t.Errorf("no row with controls for %s: %q", item.ID, row)
		}
		if strings.Contains(row, uncovered) {
			t.Errorf("%s is not covered: %q", item.ID, row)
		}
	}
	for _, p := range profiles(catalogue) {
		b, err := catalogue.Compile(p)
		if err != nil {
			continue
		}
		for _, c := range b.Controls {
			if !strings.Contains(out, "\n### `"+c.ID+"`\n") {
				t.Errorf("%s/%s: no section for %s", p.Server, p.Platform, c.ID)
			}
		}
	}
	anchors := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^### `(.*)`$").FindAllStringSubmatch(out, -1) {
		if anchors[m[1]] {
			t.Errorf("two sections for %s", m[1])
		}
		anchors[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`\]\(#([a-z0-9-]+)\)`).FindAllStringSubmatch(out, -1) {
		if !anchors[m[1]] {
			t.Errorf("a link to %s leads nowhere", m[1])
		}
	}
	if strings.Contains(out, "${") {
		t.Error("a parameter was not filled in")
	}
}

func TestDescribe(t *testing.T) {
	for want, r := range map[string]control.Resource{
		"`/usr/sbin/sshd` does not exist":                                           &resource.Absent{Path: "/usr/sbin/sshd"},
		"`kernel.sysrq` is `0`":                                                     &resource.Sysctl{Name: "kernel.sysrq", Value: "0"},
		"`kernel.sysrq` is `0`, on a kernel that has it":                            &resource.Sysctl{Name: "kernel.sysrq", Value: "0", Optional: true},
		"`kvm` is not loaded and cannot be":                                         &resource.KernelModule{Name: "kvm", State: "blocked"},
		"`ssh.service` is masked or absent, and does not run":                       &resource.UnitState{Name: "ssh.service", State: "masked"},
		"`/etc/passwd`: mode `0644`, uid `0`, gid `0`":                              &resource.File{Path: "/etc/passwd", Mode: "0644"},
		"`vault.service/swap`: section `Service`, properties `MemorySwapMax` = `0`": &resource.UnitProperty{Unit: "vault.service", Name: "swap", Section: "Service", Properties: map[string]string{"MemorySwapMax": "0"}},
		"Talk.": &resource.Procedure{Name: "talk", Reason: "Talk."},
	} {
		if got, err := describe(r); err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", r.Key(), got, err, want)
		}
	}
	text, err := describe(&resource.File{Path: "/etc/issue", Mode: "0644", Content: "keep\nout\n"})
	if err != nil || !strings.Contains(text, "\n  ```\n  keep\n  out\n  ```\n") {
		t.Errorf("the text of a file: %q, %v", text, err)
	}
	long := map[string]string{"A": "1", "B": "2", "C": "3", "D": ""}
	text, err = describe(&resource.UnitProperty{Unit: "vault.service", Name: "many", Section: "Service", Properties: long})
	if err != nil || !strings.Contains(text, "\n    - `A` = `1`\n") || !strings.HasSuffix(text, "\n    - `D` = empty") {
		t.Errorf("many properties: %q, %v", text, err)
	}
}

// The machine-readable list is the baseline itself.
func TestControlsJSONIsTheBaseline(t *testing.T) {
	_, out, _ := cli("controls", "--json", "--set", "memory_lock=on")
	b, digest, err := baseline.DecodeBytes([]byte(out))
	if err != nil {
		t.Fatal(err)
	}
	if _, list, _ := cli("controls", "--set", "memory_lock=on"); !strings.Contains(list, "baseline "+digest) {
		t.Errorf("the list names another digest than %s", digest)
	}
	if len(b.Guide.Items) != 36 || !json.Valid([]byte(out)) {
		t.Errorf("%d items of the guide", len(b.Guide.Items))
	}
	if code, _, stderr := cli("controls", "--json", "--markdown"); code != exitUsage || !strings.Contains(stderr, "exclude each other") {
		t.Errorf("both formats: %d, %s", code, stderr)
	}
}

func TestCoverageClasses(t *testing.T) {
	fact := control.Control{ID: "a-fact", Stage: control.StageRun, Guide: []string{"B1", "B2"}, Resources: []control.Resource{&resource.Swap{}}}
	boot := control.Control{ID: "a-boot", Stage: control.StageBoot, Guide: []string{"B1"}, Resources: []control.Resource{&resource.Swap{}}}
	talk := control.Control{ID: "a-talk", Guide: []string{"B2", "B3"}, Resources: []control.Resource{&resource.Procedure{}}}
	items := cover(control.Guide{Items: []control.GuideItem{{ID: "B1"}, {ID: "B2"}, {ID: "B3"}, {ID: "B4"}}}, []control.Control{fact, boot, talk})
	var got []string
	for _, i := range items {
		got = append(got, i.class()+"/"+i.stages())
	}
	if want := []string{proven + "/boot, run", provenInPart + "/run", byProcedure + "/–", uncovered + "/–"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
