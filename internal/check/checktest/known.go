package checktest

import (
	"cmp"
	"io/fs"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/resource"
)

// Breakage is a host that differs in one thing, which may show in several answers.
type Breakage struct {
	Name    string
	Answers map[Fact]Answer
}

// Breakages are the ways to break what a resource asked: what only somebody who knows the kind thinks of, and each
// known mutation of each answer. Some of them break nothing.
func Breakages(res control.Resource, asked map[Fact]Answer) iter.Seq[Breakage] {
	return func(yield func(Breakage) bool) {
		for _, b := range known(res, asked) {
			if !yield(b) {
				return
			}
		}
		facts := SortedFacts(asked)
		// What runs before what lies on the disk: most observations are about the former.
		slices.SortStableFunc(facts, func(a, b Fact) int { return cmp.Compare(onDisk(a), onDisk(b)) })
		for _, f := range facts {
			for _, m := range Mutations(f, asked[f]) {
				if !yield(Breakage{f.String() + ": " + m.Name, map[Fact]Answer{f: m.Answer}}) {
					return
				}
			}
		}
	}
}

func onDisk(f Fact) int {
	if isPath(f) && !strings.HasPrefix(f.Argument, "/proc/") && !strings.HasPrefix(f.Argument, "/sys/") {
		return 1
	}
	return 0
}

// known adds to [Mutations] what the type of an answer does not tell: a line that would override another, a
// name that is forbidden. A kind whose facts TestEveryCheckCanFail cannot break needs a case here.
func known(res control.Resource, asked map[Fact]Answer) []Breakage {
	var out []Breakage
	one := func(f Fact, name string, v any) {
		out = append(out, Breakage{f.String() + ": " + name, map[Fact]Answer{f: {Value: v}}})
	}
	switch r := res.(type) {
	case *resource.Sysctl:
		line := r.Name + " = 4242\n"
		for f, a := range asked {
			names, isDir := a.Value.([]string)
			if f.Method != "ReadDir" || !strings.HasSuffix(f.Argument, "sysctl.d") || a.Value != nil && !isDir {
				continue
			}
			at := path.Join(f.Argument, "zz-foreign.conf")
			out = append(out, Breakage{f.String() + ": a later file", map[Fact]Answer{
				f:             {Value: append(slices.Clone(names), "zz-foreign.conf")},
				{"Lstat", at}: {Value: host.FileInfo{Mode: 0o644}}, {"ReadFile", at}: {Value: []byte(line)},
			}})
		}
		appendToFiles(asked, line, one)
	case *resource.AuditDevices:
		f := Fact{"AuditDevices", ""}
		devices, _ := asked[f].Value.([]host.AuditDevice)
		for i := range devices {
			for option, value := range map[string]string{"log_raw": "true", "hmac_accessor": "false", "filter": "x", "prefix": "x"} {
				changed := slices.Clone(devices)
				changed[i].Options = maps.Clone(devices[i].Options)
				changed[i].Options[option] = value
				one(f, devices[i].Path+" "+option, changed)
			}
		}
	case *resource.Swap:
		appendToFiles(asked, "/swap none swap sw 0 0\n", one)
		f := Fact{"Units", ""}
		if units, ok := asked[f].Value.([]host.UnitStatus); ok {
			one(f, "a swap unit", append(slices.Clone(units), host.UnitStatus{Name: "dev-vda6.swap", LoadState: "loaded", ActiveState: "inactive"}))
		}
	case *resource.Process:
		first, _ := asked[Fact{"Process", "1"}].Value.(host.Process)
		for f, a := range asked {
			p, ok := a.Value.(host.Process)
			if !ok || f.Argument == "1" {
				continue
			}
			if len(r.NoEnvironment) > 0 {
				with := p
				with.Environment = append(slices.Clone(p.Environment), r.NoEnvironment[0])
				one(f, "and "+r.NoEnvironment[0], with)
			}
			for _, n := range r.Namespaces {
				shared := p
				shared.Namespaces = maps.Clone(p.Namespaces)
				shared.Namespaces[n] = first.Namespaces[n]
				one(f, "shares "+n, shared)
			}
		}
	case *resource.Sessions:
		one(Fact{"ReadFile", "/run/utmp"}, "a user", userOnTerminal())
	case *resource.Virtualization:
		one(Fact{"Virtualization", ""}, "a container", "docker")
	case *resource.KernelModule:
		f := Fact{"Modules", ""}
		if names, ok := asked[f].Value.([]string); ok {
			one(f, "and "+r.Name, append(slices.Clone(names), r.Name))
		}
	case *resource.KernelArgumentsAbsent:
		f := Fact{"KernelArguments", ""}
		if words, ok := asked[f].Value.([]string); ok {
			for _, w := range r.Words {
				one(f, "and "+w, append(slices.Clone(words), strings.ReplaceAll(w, "*", "")))
			}
		}
	case *resource.KernelFact:
		// Where the kernel has no such file, it appears whole.
		for _, text := range []string{"Y\n", "N\n", "4242\n", "filter\n"} {
			out = append(out, Breakage{r.Path + " appears", map[Fact]Answer{
				{"Stat", r.Path}: {Value: host.FileInfo{Mode: 0o644}}, {"Lstat", r.Path}: {Value: host.FileInfo{Mode: 0o644}},
				{"ReadFile", r.Path}: {Value: []byte(text)},
			}})
		}
		for _, w := range r.Lacks {
			appendToFiles(asked, " "+strings.ReplaceAll(w, "*", "")+"\n", one)
		}
	case *resource.WriteProtected:
		// Where nothing was there is a directory of somebody's, with all that leads to it.
		answers := map[Fact]Answer{}
		for at := r.Path; at != "/"; at = path.Dir(at) {
			f := Fact{"Lstat", at}
			if _, there := asked[f].Value.(host.FileInfo); !there || asked[f].Err != nil {
				answers[f] = Answer{Value: host.FileInfo{Mode: fs.ModeDir | 0o755, UID: 800}}
			}
		}
		out = append(out, Breakage{"a directory of somebody's", answers})
	case *resource.ProgramsAbsent:
		f := Fact{"ReadDir", "/usr/bin"}
		if names, ok := asked[f].Value.([]string); ok {
			for _, p := range r.Programs {
				one(f, "and "+p, append(slices.Clone(names), strings.ReplaceAll(p, "*", "")))
			}
		}
	case *resource.AccountsKnown:
		appendToFiles(asked, "foreign:*::root\n", one)
	case *resource.VaultConfig:
		names := slices.Concat(r.Forbid, slices.Sorted(maps.Keys(r.AbsentOr)), slices.Sorted(maps.Keys(r.AbsentOrMatch)))
		for _, secret := range r.Secrets {
			names = append(names, "foreign."+secret)
		}
		for _, name := range names {
			appendToFiles(asked, vaultSetting(name), one)
		}
	}
	return out
}

// appendToFiles adds a line to each file that was read.
func appendToFiles(asked map[Fact]Answer, line string, one func(Fact, string, any)) {
	for f, a := range asked {
		if content, ok := a.Value.([]byte); ok && f.Method == "ReadFile" {
			one(f, "and "+line, append(slices.Clone(content), line...))
		}
	}
}

// vaultSetting writes a setting with a value that no control asks for, in a block of its own.
func vaultSetting(name string) string {
	parts := strings.Split(strings.ReplaceAll(name, "*", "foreign"), ".")
	last := len(parts) - 1
	setting := parts[last] + " = \"foreign\"\n"
	if last == 0 {
		return setting
	}
	return parts[0] + labels(parts[1:last]) + " {\n" + setting + "}\n"
}

func labels(names []string) string {
	out := ""
	for _, name := range names {
		out += ` "` + name + `"`
	}
	return out
}

// userOnTerminal is the entry of utmp(5) that login(1) writes.
func userOnTerminal() []byte {
	entry := make([]byte, 384)
	entry[0] = 7 // USER_PROCESS
	copy(entry[8:], "tty1")
	copy(entry[44:], "root")
	return entry
}
