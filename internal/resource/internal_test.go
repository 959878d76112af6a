package resource

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// FuzzSysctlSetting: no file that a stranger wrote may crash the check, and what is found is a value
// on one line.
func FuzzSysctlSetting(f *testing.F) {
	for _, s := range []string{"kernel.sysrq = 1\n", "-kernel.sysrq\n", "kernel/sysrq=0", "# x\n;\n\n", "-=", "=", "kernel.sysrq", "net.ipv4/x.y=1\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, content string) {
		value, found := parseSysctls(content).value("kernel/sysrq")
		if value != words(value) || !found && value != "" {
			t.Errorf("%q gives %q, %v", content, value, found)
		}
		if found && !strings.Contains(content, "sysrq") {
			t.Errorf("%q says nothing of it, and yet %q was found", content, value)
		}
		// What stands in front of it in the same file has no say.
		after, ok := parseSysctls(content + "\nkernel.sysrq = 5\n").value("kernel/sysrq")
		if !ok || after != "5" {
			t.Errorf("%q hides a later line: %q, %v", content, after, ok)
		}
	})
}

// FuzzSysctlPath: a path names itself.
func FuzzSysctlPath(f *testing.F) {
	for _, s := range []string{"kernel.sysrq", "net/ipv4/conf/eth0.1/x", "net.ipv4.conf.eth0/1.x", "/", "..", "a/../../b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, key string) {
		p := sysctlPath(key)
		if strings.HasPrefix(p, "/") || strings.HasPrefix(p, "../") || p == ".." {
			t.Errorf("%q leads out of /proc/sys: %q", key, p)
		}
		if again := sysctlPath("/" + p); again != p {
			t.Errorf("%q is %q, and that is %q", key, p, again)
		}
	})
}

// FuzzParseColonFile: what is accepted is what was there, line by line.
func FuzzParseColonFile(f *testing.F) {
	for _, s := range []string{"root:x:0:0:root:/root:/bin/sh\n", "+\n", "a:::::\n", "::::::", "\n\n", "a:b:c:d:e:f:g\r\n", "\x00:::::::"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, content string) {
		accounts, err := parseColonFile(content, 7)
		if err != nil {
			return
		}
		var lines []string
		for _, a := range accounts {
			if len(a) != 7 {
				t.Fatalf("%q: %d fields", content, len(a))
			}
			lines = append(lines, strings.Join(a, ":"))
		}
		var want []string
		for line := range strings.SplitSeq(content, "\n") {
			if line != "" {
				want = append(want, line)
			}
		}
		if !slices.Equal(lines, want) {
			t.Errorf("%q became %q", content, lines)
		}
	})
}

// FuzzVaultSettings: names are in lower case, and what is there cannot be hidden by what else is.
func FuzzVaultSettings(f *testing.F) {
	for _, s := range []string{"ui = false\n", "listener \"tcp\" {\n  a = 1\n}\n", "a = { b = [ { c = 1 } ] }\n", "a {\n}\n", "{\"ui\": 1}", "a = <<E\nx\nE\n", "a = \"${b}\"\n", "a = -1\nb = !true\n", "a = {(null) = 1}\n", "a = [for x in [1]: x]\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, content string) {
		if len(content) > 4096 {
			t.Skip("deep nesting is the parser's, not ours")
		}
		settings, err := vaultSettings([]byte(content), "vault.hcl")
		if err != nil {
			return
		}
		for name, values := range settings.byName {
			if name != strings.ToLower(name) || len(values) == 0 {
				t.Errorf("%q: %q has %q", content, name, values)
			}
		}
		more, err := vaultSettings([]byte("zz_marker {\n  token = \"x\"\n}\n"+content), "vault.hcl")
		if err == nil && !slices.Contains(more.byName["zz_marker.token"], "x") {
			t.Errorf("%q hides another block", content)
		}
	})
}

// systemCallGroup is a group as the real systemd expands it.
func systemCallGroup(t *testing.T, name string) []string {
	t.Helper()
	out, err := exec.Command("systemd-analyze", "syscall-filter", name).Output()
	if err != nil {
		t.Fatalf("systemd-analyze: %v; run `make deps`", err)
	}
	var calls []string
	for line := range strings.Lines(string(out)) {
		switch word := strings.TrimSpace(line); {
		case word == "" || strings.HasPrefix(word, "#") || word == name:
		case word[0] == '@':
			calls = append(calls, systemCallGroup(t, word)...)
		default:
			calls = append(calls, word)
		}
	}
	return calls
}

// The calls that stand for a group are of that group, and what systemd itself makes of the filters of
// the catalogue passes.
func TestSystemCallGroupsAreSystemds(t *testing.T) {
	for group, calls := range systemCalls {
		have := systemCallGroup(t, group)
		for _, c := range calls {
			if !slices.Contains(have, c) {
				t.Errorf("%s is not of %s", c, group)
			}
		}
	}
	service := systemCallGroup(t, "@system-service")
	if !sameSystemCallFilter("@system-service", strings.Join(service, " ")) {
		t.Error("@system-service, as systemd expands it, is not @system-service")
	}
	taken := append(systemCallGroup(t, "@privileged"), systemCallGroup(t, "@resources")...)
	rest := slices.DeleteFunc(slices.Clone(service), func(c string) bool { return slices.Contains(taken, c) })
	if sameSystemCallFilter("~@privileged @resources", strings.Join(service, " ")) {
		t.Error("@system-service has nothing of @privileged")
	}
	for _, want := range []string{"@system-service", "~@privileged @resources"} {
		if !sameSystemCallFilter(want, strings.Join(rest, " ")) {
			t.Errorf("%s is not what is left", want)
		}
	}
	for _, group := range outsideSystemService {
		for _, c := range systemCalls[group] {
			if sameSystemCallFilter("@system-service", strings.Join(append(slices.Clone(service), c), " ")) {
				t.Errorf("%s, added by another drop-in, goes unseen", c)
			}
		}
	}
}
