package resource

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// Account is a line of the account database. The name "*" states what holds for every account:
// no usable password, no login shell, and no second account with user id 0.
type Account struct {
	Name string `yaml:"name" json:"name"`
	UID  int    `yaml:"uid" json:"uid,omitempty"`
	Home string `yaml:"home" json:"home,omitempty"`
	// Description is the GECOS field.
	Description string `yaml:"description" json:"description,omitempty"`
}

var (
	accountName = regexp.MustCompile(`^([a-z_][a-z0-9_-]*|\*)$`)
	noLogin     = map[string]bool{"/usr/sbin/nologin": true, "/sbin/nologin": true, "/bin/false": true, "/usr/bin/false": true}
)

func (a *Account) Key() control.Key { return control.Key{Kind: "account", Name: a.Name} }

func (a *Account) Validate() error {
	var r require
	r.that(accountName.MatchString(a.Name), "name %q is not an account name", a.Name)
	if a.Name == "*" {
		r.that(a.UID == 0 && a.Home == "" && a.Description == "", "the rule for every account takes no fields")
		return r.err()
	}
	r.that(a.UID > 0 && a.UID < 1000, "uid %d is not that of a system account (1 to 999)", a.UID)
	r.that(strings.HasPrefix(a.Home, "/"), "home %q is not absolute", a.Home)
	r.that(!strings.ContainsAny(a.Description, "\":\n"), "description has a quote, colon or line end")
	return r.err()
}

// Render makes a sysusers fragment. The bake applies it, since /etc is read-only on a node.
func (a *Account) Render(control.Profile) ([]overlay.Fragment, error) {
	if a.Name == "*" {
		return nil, nil
	}
	return []overlay.Fragment{overlay.File("/usr/lib/sysusers.d/60-strongroom-"+a.Name+".conf",
		fmt.Sprintf("u %s %d %q %s /usr/sbin/nologin\n", a.Name, a.UID, a.Description, a.Home))}, nil
}

func (a *Account) Verify(_ context.Context, h host.Host, _ control.Stage) []control.Observation {
	o := onDisk(a.Key())
	passwd, err := h.ReadFile("/etc/passwd")
	if err != nil {
		o.missing("/etc/passwd", "readable", err)
		return o.out
	}
	accounts, err := parseColonFile(string(passwd), 7)
	if err != nil {
		o.unknown("/etc/passwd", "seven fields a line", err)
		return o.out
	}
	if a.Name == "*" {
		a.verifyEveryone(o, h, accounts)
		return o.out
	}
	a.verifyOne(o, accounts)
	return o.out
}

func (a *Account) verifyOne(o *observe, accounts [][]string) {
	id := strconv.Itoa(a.UID)
	want := fmt.Sprintf("uid %s, gid %s, home %s, no login shell", id, id, a.Home)
	got, ok, others := "no such account", false, "none"
	for _, f := range accounts {
		switch {
		case f[0] == a.Name && got == "no such account": // the first of a name counts
			got = fmt.Sprintf("uid %s, gid %s, home %s, shell %s", f[2], f[3], f[5], f[6])
			ok = f[2] == id && f[3] == id && f[5] == a.Home && noLogin[f[6]]
		case userID(f[2]) == userID(id):
			others = join(others, "none", f[0])
		}
	}
	o.judge("/etc/passwd "+a.Name, want, got, ok)
	o.equal("/etc/passwd others with uid "+id, "none", others)
}

// userID reads an id as libc does, leading zeros included; what is no id reads as root's, so that
// nobody gets away with it.
func userID(field string) uint32 {
	n, err := strconv.ParseUint(field, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

func (a *Account) verifyEveryone(o *observe, h host.Host, accounts [][]string) {
	shells, roots, included := "none", "root", "none"
	for _, f := range accounts {
		if includes(f[0]) {
			included = join(included, "none", f[0])
		}
		if !noLogin[f[6]] {
			shells = join(shells, "none", f[0]+" ("+f[6]+")")
		}
		if userID(f[2]) == 0 && f[0] != "root" {
			roots = join(roots, "", f[0])
		}
	}
	o.equal("/etc/passwd login shells", "none", shells)
	o.equal("/etc/passwd uid 0", "root", roots)
	o.equal("/etc/passwd lines that include other databases", "none", included)

	shadow, err := h.ReadFile("/etc/shadow")
	if err != nil {
		o.missing("/etc/shadow", "no usable password", err)
		return
	}
	entries, err := parseColonFile(string(shadow), 9)
	if err != nil {
		o.unknown("/etc/shadow", "nine fields a line", err)
		return
	}
	usable := "none"
	inShadow := map[string]bool{}
	for _, f := range entries {
		inShadow[f[0]] = true
		// crypt(3) never gives a text that begins with these, so no password can match.
		if !strings.HasPrefix(f[1], "!") && !strings.HasPrefix(f[1], "*") || includes(f[0]) {
			usable = join(usable, "none", f[0])
		}
	}
	for _, f := range accounts {
		if f[1] != "x" && !strings.HasPrefix(f[1], "!") && !strings.HasPrefix(f[1], "*") || f[1] == "x" && !inShadow[f[0]] {
			usable = join(usable, "none", f[0])
		}
	}
	o.equal("/etc/shadow usable passwords", "none", usable)
}

// includes recognises the lines by which libc's compat service takes accounts from elsewhere:
// "+", "+name", "+@netgroup" and their opposites.
func includes(name string) bool {
	return strings.HasPrefix(name, "+") || strings.HasPrefix(name, "-")
}

// join extends a list that starts out as a word for "nothing".
func join(list, nothing, item string) string {
	if list == nothing {
		return item
	}
	return list + ", " + item
}

func parseColonFile(content string, fields int) ([][]string, error) {
	var out [][]string
	n := 0
	for line := range strings.Lines(content) {
		n++
		line = strings.TrimRight(line, "\n")
		if line == "" {
			continue
		}
		f := strings.Split(line, ":")
		if len(f) != fields {
			return nil, fmt.Errorf("line %d has %d fields, not %d", n, len(f), fields)
		}
		out = append(out, f)
	}
	return out, nil
}
