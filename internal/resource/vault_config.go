package resource

import (
	"cmp"
	"context"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// VaultConfig states what the configuration that Vault will be started with must and must not
// say. The file is written below /run at boot, so there is nothing to render and nothing to see
// in a tree.
//
// A setting is named by its blocks, labels and key ("listener.tcp.tls_min_version"); "*" stands for
// any one of them. A block may repeat (two listeners): what is stated must hold in each.
type VaultConfig struct {
	Path string `yaml:"path" json:"path"`
	Name string `yaml:"name" json:"name"` // what these settings are about; unique for the path
	// Require maps a setting to its value.
	Require map[string]string `yaml:"require" json:"require,omitempty"`
	// Match maps a setting, which must be there, to a regular expression for the whole value.
	Match map[string]string `yaml:"match" json:"match,omitempty"`
	// AtMost and AtLeast bound a setting, which must be there: a number, or a duration ("768h").
	AtMost  map[string]string `yaml:"at_most" json:"at_most,omitempty"`
	AtLeast map[string]string `yaml:"at_least" json:"at_least,omitempty"`
	// AbsentOr maps a setting whose default is right to the one value that it may say aloud.
	AbsentOr map[string]string `yaml:"absent_or" json:"absent_or,omitempty"`
	// AbsentOrMatch maps a setting that need not be there to a regular expression for the whole value.
	AbsentOrMatch map[string]string `yaml:"absent_or_match" json:"absent_or_match,omitempty"`
	// Forbid lists settings and blocks that must not appear ("storage.raft.retry_join").
	Forbid []string `yaml:"forbid" json:"forbid,omitempty"`
	// Secrets are names that must not carry a value in clear text: as the last name of any setting,
	// or as NAME=… inside the value of one. Values that look like a secret are refused too.
	Secrets []string `yaml:"secrets" json:"secrets,omitempty"`
	// Alone asks that no other configuration file lies in the directory.
	Alone bool `yaml:"alone" json:"alone,omitempty"`
}

var (
	settingName = regexp.MustCompile(`^([a-z0-9_]+|\*)(\.([a-z0-9_]+|\*))*$`)
	secretName  = regexp.MustCompile(`^[a-z0-9_]+$`)
)

// Key implements control.Resource.
func (v *VaultConfig) Key() control.Key {
	return control.Key{Kind: "vault_config", Name: v.Path + "#" + v.Name}
}

// Validate implements control.Resource.
func (v *VaultConfig) Validate() error {
	var r require
	r.that(absolute(v.Path), "path %q is not absolute and clean", v.Path)
	r.that(slugName.MatchString(v.Name), "name %q is not a slug", v.Name)
	stated := map[string]string{}
	state := func(how string, settings map[string]string, check func(name, value string)) {
		for _, name := range slices.Sorted(maps.Keys(settings)) {
			r.that(settingName.MatchString(name), "setting %q is not dotted lower-case names (like listener.tcp.tls_disable)", name)
			before, twice := stated[name]
			// Two bounds make a range.
			r.that(!twice || before == "at_least" && how == "at_most", "%s is both in %s and in %s", name, before, how)
			stated[name] = how
			check(name, settings[name])
		}
	}
	text := func(string, string) {}
	number := func(name, value string) {
		_, ok := amount(value)
		r.that(ok, "%s: %q is neither a number nor a duration (like 768h)", name, value)
	}
	state("require", v.Require, text)
	state("absent_or", v.AbsentOr, text)
	state("at_least", v.AtLeast, number)
	state("at_most", v.AtMost, number)
	expression := func(name, value string) {
		_, err := whole(value)
		r.that(err == nil, "%s: %v", name, err)
	}
	state("match", v.Match, expression)
	state("absent_or_match", v.AbsentOrMatch, expression)
	forbidden := map[string]string{}
	for _, name := range v.Forbid {
		forbidden[name] = ""
	}
	state("forbid", forbidden, text)
	for _, name := range v.Secrets {
		r.that(secretName.MatchString(name), "secret %q is not a lower-case name (like secret_key)", name)
	}
	r.that(len(stated)+len(v.Secrets) > 0 || v.Alone, "nothing is required or forbidden")
	return r.err()
}

// matches reports whether an expression matches a whole value.
func matches(expression, value string) bool {
	re, err := whole(expression)
	return err == nil && re.MatchString(value)
}

// Render implements control.Resource.
func (v *VaultConfig) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

// Verify implements control.Resource.
func (v *VaultConfig) Verify(_ context.Context, h host.Host, stage control.Stage) []control.Observation {
	if !stage.Runs() {
		return nil
	}
	o := effective(v.Key())
	if v.Alone {
		v.verifyAlone(o, h)
	}
	content, err := h.ReadFile(v.Path)
	if err != nil {
		o.missing(v.Path, "a configuration", err)
		return o.out
	}
	parsed := host.Derive(h, "vault_config "+v.Path, func(host.Host) parsedSettings {
		found, err := vaultSettings(content, v.Path)
		return parsedSettings{found, err}
	})
	found, err := parsed.settings, parsed.err
	if err != nil {
		o.unknown(v.Path, "valid HCL", err)
		return o.out
	}
	v.judgeAll(o, found, v.Require, "", func(want, got string) bool { return got == want })
	v.judgeAll(o, found, v.Match, "matches ", matches)
	v.judgeAll(o, found, v.AtLeast, "at least ", func(want, got string) bool { return compareAmounts(got, want, 1) })
	v.judgeAll(o, found, v.AtMost, "at most ", func(want, got string) bool { return compareAmounts(got, want, -1) })
	for _, name := range slices.Sorted(maps.Keys(v.AbsentOr)) {
		want, got := v.AbsentOr[name], found.values(name)
		ok := !slices.ContainsFunc(got, func(g string) bool { return g != want })
		o.judge(v.Path+" "+name, "not set, or "+want, cmp.Or(strings.Join(got, ", "), "not set"), ok)
	}
	for _, name := range slices.Sorted(maps.Keys(v.AbsentOrMatch)) {
		want, got := v.AbsentOrMatch[name], found.values(name)
		wrong := slices.ContainsFunc(got, func(g string) bool { return !matches(want, g) })
		// What does not match may be a secret that was written where its place belongs.
		o.judge(v.Path+" "+name, "not set, or matches "+want, map[bool]string{true: "set to something else", false: "as stated"}[wrong], !wrong)
	}
	for _, name := range v.Forbid {
		got := "not set"
		if set := found.below(name); set != "" {
			got = set + " is set" // the value may be a secret
		}
		o.equal(v.Path+" "+name, "not set", got)
	}
	if len(v.Secrets) > 0 {
		v.verifySecrets(o, found)
	}
	return o.out
}

// judgeAll compares settings that must be there, in each block that can hold them.
func (v *VaultConfig) judgeAll(o *observe, found settings, stated map[string]string, words string, holds func(want, got string) bool) {
	for _, name := range slices.Sorted(maps.Keys(stated)) {
		got, want := found.values(name), stated[name]
		ok := true
		for _, g := range got {
			ok = ok && holds(want, g)
		}
		if missing := found.blocksOf(name) - len(got); len(got) == 0 || missing > 0 {
			got, ok = append(slices.Clone(got), "not set"), false
		}
		o.judge(v.Path+" "+name, words+want, strings.Join(got, ", "), ok)
	}
}

// verifyAlone looks for other files that Vault would merge, were it pointed at the directory.
func (v *VaultConfig) verifyAlone(o *observe, h host.Host) {
	dir := path.Dir(v.Path)
	want := "no other .hcl or .json"
	names, err := h.ReadDir(dir)
	if err != nil {
		o.missing(dir, want, err)
		return
	}
	got := want
	for _, name := range names {
		if extension := strings.ToLower(path.Ext(name)); name != path.Base(v.Path) && (extension == ".hcl" || extension == ".json") {
			got = join(got, want, name)
		}
	}
	o.equal(dir, want, got)
}

// whole compiles an expression for a whole value.
func whole(expression string) (*regexp.Regexp, error) {
	return regexp.Compile("^(?:" + expression + ")$")
}

// amount reads a number, or a duration as Vault reads them, in seconds.
func amount(text string) (total float64, ok bool) {
	rest := text
	for rest != "" {
		digits := strings.IndexFunc(rest, func(c rune) bool { return c < '0' || c > '9' })
		if digits < 0 {
			digits = len(rest)
		}
		if digits == 0 || digits > 12 {
			return 0, false
		}
		var n float64
		for _, c := range rest[:digits] {
			n = n*10 + float64(c-'0')
		}
		if rest = rest[digits:]; rest == "" {
			return n, total == 0 && digits == len(text) // a number alone
		}
		unit := ""
		for _, u := range []string{"ms", "s", "m", "h", "d"} {
			if strings.HasPrefix(rest, u) {
				unit = u
				break
			}
		}
		if unit == "" {
			return 0, false
		}
		total += n * map[string]float64{"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
		rest = rest[len(unit):]
	}
	return total, text != ""
}

// compareAmounts reports whether got lies on the allowed side of the bound, or on it. What cannot be
// read lies on neither.
func compareAmounts(got, bound string, side int) bool {
	g, ok := amount(got)
	b, _ := amount(bound)
	return ok && cmp.Compare(g, b)*side >= 0
}
