package node

import (
	"path"
	"slices"
	"strings"
)

// Reference names where a value lies, so that the value itself stands in no configuration:
//
//	credential:NAME   a systemd credential of the unit
//	file:/PATH        a file of this machine
//	https://HOST/…    what a server answers, whose certificate the image's authorities or the cluster's have signed
type Reference string

// References of the TLS material when node.hcl has no tls block.
const (
	DefaultCert Reference = "credential:" + CredentialCert
	DefaultKey  Reference = "credential:" + CredentialKey
	DefaultCA   Reference = "credential:" + CredentialCA
)

const referenceHint = `write "credential:NAME", "file:/PATH" or "https://HOST/PATH"`

// ParseReference judges a reference. What it says is wrong does not repeat the text, which may be the secret itself.
func ParseReference(text string) (r Reference, problem, hint string) {
	return parseReference(text, CredentialNames)
}

// parseReference knows these credentials.
func parseReference(text string, credentials []string) (r Reference, problem, hint string) {
	switch kind, rest, _ := strings.Cut(text, ":"); kind {
	case "credential":
		if !slices.Contains(credentials, rest) {
			return "", "is a credential that the node does not load", "one of " + strings.Join(credentials, ", ")
		}
	case "file":
		rest = strings.TrimPrefix(rest, "//")
		if !path.IsAbs(rest) || path.Clean(rest) != rest || rest == "/" || strings.ContainsFunc(rest, unprintable) {
			return "", "is a file without an absolute, clean path", "for example \"file:/etc/strongroom/ca.pem\""
		}
		text = "file:" + rest
	case "https":
		if _, err := ParseHTTPS(text); err != nil {
			return "", "is not a URL that may be fetched", "https://HOST/PATH, without a user name and a fragment; the node shows its certificate to a server that asks"
		}
	default:
		return "", "is not a reference", referenceHint
	}
	return Reference(text), "", ""
}

func unprintable(c rune) bool { return c < ' ' || c == 0x7f }

// Split gives the kind of a reference that ParseReference accepted, and what it names: a credential, a path or a URL.
func (r Reference) Split() (kind, target string) {
	kind, target, _ = strings.Cut(string(r), ":")
	if kind == "https" {
		target = string(r)
	}
	return kind, target
}

// reference judges an attribute that holds a reference; one that is left out is what is usual.
func reference(at locator, name, text string, usual Reference, wrong *Mistakes) Reference {
	if !at.isString(name) {
		return usual
	}
	r, problem, hint := ParseReference(text)
	if problem != "" {
		wrong.add(at.attribute(name), hint, "%s %s", name, problem)
	}
	return r
}
