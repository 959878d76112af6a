package resource

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/host"
)

// verifySecrets looks for secrets in clear text. What it says is where, and never what.
func (v *VaultConfig) verifySecrets(o *observe, found settings) {
	const none = "no secret in clear text"
	got := none
	for _, name := range slices.Sorted(maps.Keys(found.byName)) {
		for _, value := range found.byName[name] {
			if what := v.secret(name, value); what != "" {
				got = join(got, none, name+" "+what)
			}
		}
	}
	o.equal(v.Path, none, got)
}

// secret says what is wrong with a setting, if anything. A reference to where the secret is kept
// (env://, file://) and a path are no secrets.
func (v *VaultConfig) secret(name, value string) string {
	last := name[strings.LastIndexByte(name, '.')+1:]
	reference := value == "" || strings.HasPrefix(value, "env://") || strings.HasPrefix(value, "file://") || path.IsAbs(value)
	if slices.Contains(v.Secrets, last) && !reference {
		return "is set"
	}
	for word := range strings.FieldsFuncSeq(strings.ToLower(value), func(c rune) bool { return c == ' ' || c == ',' || c == ';' || c == '&' }) {
		key, inside, ok := strings.Cut(word, "=")
		if ok && inside != "" && slices.Contains(v.Secrets, key) {
			return "holds " + key + "="
		}
	}
	// What is in memory can be read.
	if found, _ := host.FindSecrets(strings.NewReader(value)); len(found.Shapes) > 0 {
		return "holds " + found.Shapes[0]
	}
	return ""
}
