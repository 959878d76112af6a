package resource

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// AccountsKnown is the whole account database: no account besides those that are named, no id that two of
// them share, and no group that gives an account more than its own.
type AccountsKnown struct {
	Users []string `yaml:"users" json:"users"`
	// Members are the groups that may have members beside those whose own group it is.
	Members []string `yaml:"members" json:"members,omitempty"`
}

func (a *AccountsKnown) Key() control.Key {
	return control.Key{Kind: "accounts_known", Name: "database"}
}

func (a *AccountsKnown) Validate() error {
	var r require
	r.that(len(a.Users) > 0, "no users")
	for _, n := range slices.Concat(a.Users, a.Members) {
		r.that(accountName.MatchString(n) && n != "*", "name %q is not an account name", n)
	}
	return r.err()
}

// Render has nothing to add: packages and sysusers.d make accounts.
func (a *AccountsKnown) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

func (a *AccountsKnown) Verify(_ context.Context, h host.Host, _ control.Stage) []control.Observation {
	o := onDisk(a.Key())
	a.verifyUsers(o, h)
	a.verifyGroups(o, h, "/etc/group", 4, 3)
	a.verifyGroups(o, h, "/etc/gshadow", 4, 2, 3)
	return o.out
}

func (a *AccountsKnown) verifyUsers(o *observe, h host.Host) {
	const file = "/etc/passwd"
	content, err := h.ReadFile(file)
	if err != nil {
		o.missing(file, "readable", err)
		return
	}
	lines, err := parseColonFile(string(content), 7)
	if err != nil {
		o.unknown(file, "seven fields a line", err)
		return
	}
	var strangers, shared []string
	ids := map[uint32]string{}
	for _, f := range lines {
		if !slices.Contains(a.Users, f[0]) {
			strangers = append(strangers, f[0])
		}
		id := userID(f[2])
		if first, taken := ids[id]; taken {
			shared = append(shared, first+" and "+f[0]+" ("+f[2]+")")
			continue
		}
		ids[id] = f[0]
	}
	o.none(file, "no account but those of the image", named(strangers, ""))
	o.none(file+" ids", "an id of its own for each account", named(shared, ""))
}

// verifyGroups looks at the fields of a group database that name accounts.
func (a *AccountsKnown) verifyGroups(o *observe, h host.Host, file string, fields int, members ...int) {
	const want = "no group with members"
	content, err := h.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && file == "/etc/gshadow" {
		o.judge(file, want, "no such file", true)
		return
	}
	if err != nil {
		o.missing(file, want, err)
		return
	}
	lines, err := parseColonFile(string(content), fields)
	if err != nil {
		o.unknown(file, "four fields a line", err)
		return
	}
	var found []string
	for _, f := range lines {
		for _, i := range members {
			if f[i] != "" && !slices.Contains(a.Members, f[0]) {
				found = append(found, f[0]+": "+strings.TrimSpace(f[i]))
			}
		}
	}
	o.none(file, want, named(found, ""))
}
