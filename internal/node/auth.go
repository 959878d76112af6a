package node

import "regexp"

type authSpec struct {
	Method string `hcl:"method,label"`
	Mount  string `hcl:"mount,optional"`
	Role   string `hcl:"role,optional"`
}

// check gives nil without the block. The only method is "cert", because the node has a certificate anyway; every other one would need
// one more secret.
func (s *authSpec) check(at locator, wrong *Mistakes) *Auth {
	if s == nil {
		return nil
	}
	block := at.block("auth")
	if s.Method != "cert" {
		wrong.add(at.label("auth"), "write auth \"cert\" { }, or leave the block out and hand over the credential "+CredentialToken,
			"auth %q is not a method of this version", s.Method)
	}
	a := &Auth{Method: s.Method, Mount: "cert", Role: "strongroom-node"}
	for name, v := range map[string]struct {
		text string
		to   *string
	}{"mount": {s.Mount, &a.Mount}, "role": {s.Role, &a.Role}} {
		if !block.isString(name) {
			continue
		}
		if !apiName(v.text, name == "mount") {
			wrong.add(block.attribute(name), "letters, digits, dots, dashes and underscores", "%s %q is not a name", name, v.text)
		}
		*v.to = v.text
	}
	return a
}

// apiName reports whether a text can stand in the path of a request. Parts of a path may be joined by slashes.
func apiName(text string, parts bool) bool {
	const name = `[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?`
	expression := "^" + name + "$"
	if parts {
		expression = "^" + name + "(/" + name + ")*$"
	}
	return len(text) <= 256 && regexp.MustCompile(expression).MatchString(text)
}
