package hardening_test

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/hardening"
	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/host/hosttest"
	"github.com/strongroom/strongroom/internal/resource"
	"github.com/strongroom/strongroom/internal/server"
)

// everyBaseline compiles the catalogue for all profiles that there are.
func everyBaseline(t *testing.T) map[string]*baseline.Baseline {
	t.Helper()
	out := map[string]*baseline.Baseline{}
	for name, p := range checktest.Profiles() {
		out[name] = checktest.Compile(t, p)
	}
	return out
}

func TestEveryFamilyIsThere(t *testing.T) {
	files, err := filepath.Glob("*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var families []string // one for each file but the guide, in the order of their names
	for _, f := range files {
		if f != "guide.yaml" {
			families = append(families, strings.TrimSuffix(f, ".yaml"))
		}
	}
	for name, b := range everyBaseline(t) {
		have := map[string]int{}
		for _, c := range b.Controls {
			have[c.Family]++
		}
		want := slices.Clone(families)
		if b.Profile.Server != "openbao" {
			want = slices.DeleteFunc(want, func(family string) bool { return family == "openbao" })
		}
		if got := slices.Sorted(maps.Keys(have)); !slices.Equal(got, want) {
			t.Errorf("%s: families %q, want %q", name, got, want)
		}
		if len(b.Controls) < 25 {
			t.Errorf("%s: only %d controls", name, len(b.Controls))
		}
	}
}

// What an auditor and whoever reads `hostcheck explain` are given.
func TestEveryControlExplainsItself(t *testing.T) {
	for name, b := range everyBaseline(t) {
		titles := map[string]string{}
		for _, c := range b.Controls {
			complain := func(format string, args ...any) {
				t.Errorf("%s: %s: "+format, append([]any{name, c.ID}, args...)...)
			}
			if !control.ValidID(c.ID) {
				complain("the id is not a slug")
			}
			if c.Title == "" || strings.HasSuffix(c.Title, ".") || c.Title[:1] != strings.ToUpper(c.Title[:1]) || strings.Contains(c.Title, "\n") {
				complain("the title is not a sentence on one line without its full stop: %q", c.Title)
			}
			if other, taken := titles[c.Title]; taken {
				complain("has the title of %s", other)
			}
			titles[c.Title] = c.ID
			if !strings.HasSuffix(c.Rationale, ".") {
				complain("the rationale is no whole sentence: %q", c.Rationale)
			}
			if c.Fix == "" || strings.HasSuffix(c.Fix, ".") || strings.HasPrefix(c.Fix, "http") {
				complain("the fix is not an instruction without its full stop: %q", c.Fix)
			}
			if strings.Contains(c.Title+c.Rationale+c.Fix, "${") {
				complain("a parameter was not filled in")
			}
			for _, g := range c.Guide {
				if _, known := b.Guide.Item(g); !known {
					complain("cites %q, which the guide does not have", g)
				}
			}
			if sorted := slices.Compact(slices.Sorted(slices.Values(c.Guide))); len(sorted) != len(c.Guide) || len(sorted) == 0 {
				complain("cites %q", c.Guide)
			}
			if c.Severity != control.Must && c.Severity != control.Should {
				complain("severity %q", c.Severity)
			}
		}
	}
}

// An id means the same thing wherever it appears: controls of two profiles with the same id differ in
// their resources at most.
func TestIdsMeanOneThing(t *testing.T) {
	seen := map[string]control.Control{}
	for name, b := range everyBaseline(t) {
		for _, c := range b.Controls {
			have, ok := seen[c.ID]
			if !ok {
				seen[c.ID] = c
				continue
			}
			if general(have.Title) != general(c.Title) || have.Severity != c.Severity || have.Stage != c.Stage || have.Family != c.Family {
				t.Errorf("%s: %s is another control than elsewhere", name, c.ID)
			}
		}
	}
}

// general is a title without the name of the server.
func general(title string) string {
	for _, p := range server.Products {
		title = strings.ReplaceAll(title, p.Name, "the server")
	}
	return title
}

func TestEveryParameterExplainsItself(t *testing.T) {
	c, err := hardening.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range c.Parameters {
		if strings.TrimSpace(p.Description) == "" || p.Values() == "" {
			t.Errorf("parameter %s needs a description, and words for its values: %+v", p.Name, p)
		}
	}
}

// worstHost has all that was rendered, so that no verdict comes from a missing fragment. It answers
// every question, and always with what no control wants to hear.
func worstHost(t *testing.T, b *baseline.Baseline) *hosttest.Host {
	t.Helper()
	h := checktest.Tree(t, b).
		File("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\nguest:x:0:0::/:/bin/sh\n").File("/etc/shadow", "root::1::::::\n").
		File("/etc/fstab", "/swap none swap sw 0 0\n").
		SetSwaps(host.Swap{Device: "/swap", Type: "file"}).SetMounts().SetRuleset(host.Ruleset{}).
		SetListeners(host.Listener{Protocol: "tcp", Address: "::", Port: 22}).
		SetUnits(host.UnitStatus{Name: "swap.swap", LoadState: "loaded", ActiveState: "active"},
			host.UnitStatus{Name: "miner.service", LoadState: "loaded", ActiveState: "failed"}).
		SetProcesses(host.ProcessSummary{PID: 99, Parent: 1, Name: "sh", ControlGroup: "/user.slice/user-0.slice/session-1.scope", Environment: []string{"VAULT_TOKEN"}}).
		SetVirtualization("docker").SetClock(host.Clock{MaxErrorMicroseconds: 16e6}).Directory("/run/systemd/sessions/1", 0o755)
	h.File("/etc/os-release", "ID=debian\n").SetMounts(host.Mount{Point: "/worst", Device: "1:1", Options: []string{"rw"}}).
		File("/opt/worst", "db = postgres://me:hunter22@db.example\n").Chmod("/opt/worst", 0o666|fs.ModeSetuid).Chown("/opt/worst", 4242, 0).SetFileCapability("/opt/worst", "01").
		Special("/opt/pipe", fs.ModeNamedPipe|0o600)
	var modules, arguments []string
	states := map[string]bool{}
	for _, c := range b.Controls {
		for _, res := range c.Resources {
			switch r := res.(type) {
			case *resource.Sysctl:
				h.File("/proc/sys/"+strings.ReplaceAll(r.Name, ".", "/"), "not "+r.Value+"\n")
			case *resource.InterfaceSysctl:
				h.File("/proc/sys/net/"+r.Family+"/conf/eth0/"+r.Name, "not "+r.Value+"\n")
			case *resource.KernelFact:
				content := "not " + r.Is
				if len(r.Lacks) > 0 {
					content = strings.ReplaceAll(r.Lacks[0], "*", "0")
				}
				h.File(r.Path, content+"\n")
			case *resource.KernelArgumentsAbsent:
				arguments = append(arguments, strings.ReplaceAll(r.Words[0], "*", "x"))
			case *resource.CPUVulnerabilities:
				h.File("/sys/devices/system/cpu/vulnerabilities/mds", "Vulnerable: Clear CPU buffers attempted, no microcode\n")
			case *resource.File:
				if r.Target != "" {
					h.Symlink(r.Path, "/elsewhere")
				} else if _, err := h.Lstat(r.Path); err == nil {
					h.Chmod(r.Path, 0o666)
				}
			case *resource.Absent:
				h.File(r.Path, "")
			case *resource.Pristine:
				h.File(path.Join(r.Path, strings.ReplaceAll(append(r.Names, "x")[0], "*", "x")), "x")
			case *resource.ProgramsAbsent:
				h.File("/usr/bin/"+strings.ReplaceAll(r.Programs[0], "*", "x"), "")
			case *resource.WriteProtected:
				if r.Optional {
					h.Directory(r.Path, 0o755)
				}
				if _, err := h.Lstat(r.Path); err == nil {
					h.Chown(r.Path, 800, 800)
				}
			case *resource.KernelModule:
				if r.State == "blocked" {
					modules = append(modules, r.Name)
				}
			case *resource.UnitState:
				active := map[string]string{"masked": "active", "active": "failed"}[r.State]
				h.SetUnit(host.Unit{Name: strings.Replace(r.Name, "@.", "@strongroom.", 1), LoadState: "loaded", ActiveState: active,
					Properties: map[string]string{"IPAddressDeny": ""}}) // a unit that is there, and whose settings are judged too
				states[r.Name] = true
			case *resource.UnitProperty:
				if !states[r.Unit] {
					h.SetNoUnit(r.Unit)
				}
			case *resource.ProcessLimits:
				h.SetNoUnit(r.Unit)
			case *resource.Measured:
				h.File("/run/hostcheck/"+r.Credential, `{"schema": "strongroom.measurements/v1", "kernels": [{"name": "disk", "pcr11": [{"sha256": "ab"}]}]}`)
			case *resource.AppArmorProcess:
				if r.Unit != "self" {
					h.SetNoUnit(r.Unit)
				}
			case *resource.Process:
				h.SetNoUnit(r.Unit)
			case *resource.Executable:
				h.SetNoUnit(r.Unit)
			case *resource.OpenFiles:
				h.SetOpenFiles(r.Directory, host.OpenFile{PID: 99, Name: "sh", ControlGroup: "/", Path: r.Directory + "/vault.db"})
			case *resource.HomeTraces:
				for _, f := range r.Files {
					if _, err := h.Lstat("/root/" + f); err != nil { // .aws may be a directory of another file
						h.File("/root/"+f, "")
					}
				}
			}
		}
	}
	return checktest.WorstMember(h.SetModules(modules...).SetKernelArguments(arguments...).SetAppArmor())
}

// Every single resource of the catalogue can fail; a resource that cannot proves nothing.
func TestEveryResourceCanFail(t *testing.T) {
	for name, b := range everyBaseline(t) {
		r := check.Run(t.Context(), b, "digest", worstHost(t, b), control.StageMember, check.Options{})
		image := check.Run(t.Context(), b, "digest", worstHost(t, b), control.StageImage, check.Options{})
		for i, c := range r.Controls {
			if c.Control.Stage == control.StageImage { // a running node is not judged by it
				c = image.Controls[i]
			}
			failed := map[control.Key]bool{}
			for _, o := range c.Observations {
				failed[o.Resource] = failed[o.Resource] || o.Outcome == control.Fail
				if o.Outcome == control.Unknown {
					t.Errorf("%s: %s: %s: %s: %v", name, c.Control.ID, o.Resource, o.Source, o.Err)
				}
			}
			for _, res := range c.Control.Resources {
				if !failed[res.Key()] && !c.Control.Procedural() {
					t.Errorf("%s: %s: %s does not fail on a host that has nothing right", name, c.Control.ID, res.Key())
				}
			}
		}
		if r.Verdict != check.Fail {
			t.Errorf("%s: verdict %s", name, r.Verdict)
		}
	}
}

// The guide has 24 baseline items and 12 extended ones, in the document's order.
func TestTheGuideIsWhole(t *testing.T) {
	c, err := hardening.Load()
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 24 {
		want = append(want, fmt.Sprintf("B%d", i+1))
	}
	for i := range 12 {
		want = append(want, fmt.Sprintf("E%d", i+1))
	}
	var got []string
	for _, item := range c.Guide.Items {
		got = append(got, item.ID)
		if !strings.HasSuffix(item.Asks, ".") || strings.HasSuffix(item.Title, ".") {
			t.Errorf("%s: %q asks %q", item.ID, item.Title, item.Asks)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("items %q", got)
	}
}

// In every profile each item of the guide has a control, or a report of that profile would not know what to say of it.
func TestEveryItemIsServedInEveryProfile(t *testing.T) {
	for name, b := range everyBaseline(t) {
		for _, item := range b.Guide.Items {
			if !slices.ContainsFunc(b.Controls, func(c control.Control) bool { return slices.Contains(c.Guide, item.ID) }) {
				t.Errorf("%s: no control serves %s (%s)", name, item.ID, item.Title)
			}
		}
	}
}
