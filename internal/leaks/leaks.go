// Package leaks looks through the files of an image for what must not be in one: keys, tokens and passwords by what they look like, and the
// identity, the histories and the caches of the machine that it was made on by where they lie. What secrets look like is Gitleaks'
// knowledge (github.com/zricethezav/gitleaks, its rules and not its scanner, which is made for the history of source code), and that of
// internal/host for what those rules do not know.
//
// Every regular file is read to its end, programs too; none is passed over because of the package that it is said to come from. What is
// compressed or encrypted is not looked into.
package leaks

import (
	"cmp"
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// Finding is one thing that must not be in an image. It never has the secret.
type Finding struct {
	Path   string `json:"path"`             // in the image: "/root/.netrc"
	Kind   string `json:"kind"`             // "private-key", "shell-history": an id of Gitleaks' rules or of a place
	Line   int    `json:"line,omitempty"`   // in a text, from 1; 0 where the file itself is the finding, and in a program
	Offset int64  `json:"offset,omitempty"` // bytes before it
	Reason string `json:"reason"`           // what it is: "Identified a Private Key"
	Fix    string `json:"fix"`              // what to do about it
	// Fingerprint tells two secrets of one kind in one file apart: eight hexadecimal digits, slow to compute, so that it gives no
	// password away. "" where the file itself is the finding.
	Fingerprint string `json:"fingerprint,omitempty"`
}

// String is a finding in one line.
func (f Finding) String() string {
	where := f.Path
	if f.Line > 0 {
		where += fmt.Sprintf(":%d", f.Line)
	} else if f.Fingerprint != "" {
		where += fmt.Sprintf(" at byte %d", f.Offset)
	}
	id := f.Kind
	if f.Fingerprint != "" {
		id += " " + f.Fingerprint
	}
	return fmt.Sprintf("%s: %s (%s)", where, f.Reason, id)
}

// Allowance is one finding that may stay.
type Allowance struct {
	Path        string `json:"path"`
	Kind        string `json:"kind"`
	Fingerprint string `json:"fingerprint,omitempty"` // needed where a file has more than one of the kind
	Reason      string `json:"reason"`
}

// Scan looks through a file tree. The findings are in the order of their paths; those that the allowances name are not among them. An allowance
// that does not name exactly one is an error, as is a file that cannot be read: the findings are given all the same.
func Scan(ctx context.Context, tree fs.FS, allow []Allowance) ([]Finding, error) {
	r, err := new(Scanner).FS(ctx, tree, allow)
	return r.Findings, err
}

// Validate says what is wrong with an allowance, whatever the tree.
func (a Allowance) Validate() error {
	var errs []error
	if a.Path == "" || a.Path[0] != '/' {
		errs = append(errs, fmt.Errorf("path %q is not absolute", a.Path))
	}
	if a.Kind == "" {
		errs = append(errs, errors.New("no kind is given"))
	}
	if a.Reason == "" {
		errs = append(errs, errors.New("no reason is given"))
	}
	return errors.Join(errs...)
}

func (a Allowance) names(f Finding) bool {
	return a.Path == f.Path && a.Kind == f.Kind && (a.Fingerprint == "" || a.Fingerprint == f.Fingerprint)
}

// without takes out what is allowed.
func without(findings []Finding, allow []Allowance) ([]Finding, error) {
	var errs []error
	allowed := make([]bool, len(findings))
	for _, a := range allow {
		var named []int
		for i, f := range findings {
			if a.names(f) {
				named = append(named, i)
			}
		}
		switch len(named) {
		case 0:
			errs = append(errs, fmt.Errorf("the allowance of %s in %s allows nothing that was found: remove it", a.Kind, a.Path))
		case 1:
			allowed[named[0]] = true
		default:
			var prints []string
			for _, i := range named {
				prints = append(prints, findings[i].Fingerprint)
			}
			errs = append(errs, fmt.Errorf("the allowance of %s in %s allows %d of them: give the fingerprint of one (%v)", a.Kind, a.Path, len(named), prints))
		}
	}
	var left []Finding
	for i, f := range findings {
		if !allowed[i] {
			left = append(left, f)
		}
	}
	return left, errors.Join(errs...)
}

// fingerprint is of a kind at a path, so that it tells nothing of the same secret elsewhere.
func fingerprint(path, kind string, secret []byte) string {
	key, err := pbkdf2.Key(sha256.New, string(secret), []byte(kind+"\x00"+path), 1<<15, 4)
	if err != nil {
		panic(err) // only for parameters that it does not take
	}
	return hex.EncodeToString(key)
}

// inOrder sorts findings, and leaves a secret that a file has twice where it is first.
func inOrder(findings []Finding) []Finding {
	slices.SortFunc(findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Fingerprint, b.Fingerprint), cmp.Compare(a.Offset, b.Offset))
	})
	findings = slices.CompactFunc(findings, func(a, b Finding) bool {
		return a.Path == b.Path && a.Kind == b.Kind && a.Fingerprint == b.Fingerprint
	})
	slices.SortFunc(findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Kind, b.Kind))
	})
	return findings
}
