package host

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"sync"
)

// A capture leaves the machine: it goes into bug reports and test fixtures. What looks like a secret is
// replaced on its way into the recording, so that it is never in the recorder's memory either.
// Markers keep what a check asks for: whether an account is locked, not what its hash is.

// redacted stands where a secret was.
const redacted = "[redacted]"

// secretPaths hold nothing but secrets: their bytes are not recorded, whatever they look like.
var secretPaths = []string{
	"/run/credentials/*", "/run/credentials/*/*", "/proc/*/environ", "/etc/ssl/private/*", "/run/vault/tls/*.key",
	"/sys/firmware/dmi/entries/11-*/*", "/sys/firmware/dmi/tables/*", "/sys/firmware/qemu_fw_cfg/by_name/*/*/*/raw",
}

func redactFile(p string, b []byte) []byte {
	for _, pattern := range secretPaths {
		if ok, _ := path.Match(pattern, path.Clean(p)); ok {
			return []byte(redacted)
		}
	}
	text := string(b)
	switch strings.TrimSuffix(path.Base(p), "-") {
	case "shadow", "gshadow", "passwd", "group":
		text = redactAccounts(text)
	}
	return []byte(redactText(text))
}

// redactAccounts replaces the password hashes in passwd(5), shadow(5) and their group forms: the
// second of the fields with colons.
func redactAccounts(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		fields := strings.Split(line, ":")
		if len(fields) > 1 {
			fields[1] = redactHash(fields[1])
			lines[i] = strings.Join(fields, ":")
		}
	}
	return strings.Join(lines, "\n")
}

// redactHash keeps what a password field says apart from the hash: "" (no password), "*" and "!…"
// (locked), "x" (in the other file), and by which method the hash was made.
func redactHash(field string) string {
	locked := strings.TrimLeft(field, "!")
	marks := field[:len(field)-len(locked)]
	switch locked {
	case "", "*", "x":
		return field
	}
	if method := crypt().FindStringSubmatch(locked); method != nil {
		return marks + "$" + method[1] + "$" + redacted
	}
	return marks + redacted
}

// pattern is compiled on first use: only a recording needs them, and a verification has no memory to spare.
func pattern(text string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
}

var (
	crypt = pattern(`\$(1|2[abxy]?|5|6|7|y|gy|md5|sha1|argon2(?:i|d|id)|pbkdf2[a-z0-9-]*)\$[./A-Za-z0-9=,$+-]{8,}`)
	// A block that was cut off has no END line, and its secret is no less of one.
	privateKey = pattern(`(?s)(-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----).*?(-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)`)
	// Service, batch, recovery tokens of Vault and OpenBao, and the short forms from before 1.10.
	vaultToken = pattern(`\b(?:(hv[sbr])\.[A-Za-z0-9_-]{20,}|([sbr])\.[A-Za-z0-9]{24,})`)
	// key = "value" of HCL and JSON, key=value of environments, where the key's name tells.
	assignment = pattern(`(?i)([a-z0-9_.-]*(?:passw(?:or)?d|passphrase|secret|secret_?(?:access_?)?key|token|api_?key|access_?key|private_?key)s?"?\s*[:=]\s*)("[^"\n]+"|[^\s"',;{}\[\]]{8,})`)
	// user:password@ of a URL.
	userinfo = pattern(`(://[^/\s:@]*):[^/\s@]+@`)
	// Credentials with their value, on the kernel command line and in a unit file.
	credential = pattern(`((?:systemd\.set_credential(?:_binary)?|SetCredential(?:Encrypted)?)=[^:\s]+):\S+`)
)

// redactText replaces secrets that are known by their shape, in any text.
func redactText(s string) string {
	s = privateKey().ReplaceAllString(s, "$1\n"+redacted+"\n$2")
	s = vaultToken().ReplaceAllString(s, "$1$2."+redacted)
	s = crypt().ReplaceAllString(s, fmt.Sprintf("$$${1}$$%s", redacted))
	s = credential().ReplaceAllString(s, "$1:"+redacted)
	s = userinfo().ReplaceAllString(s, "$1:"+redacted+"@")
	return assignment().ReplaceAllStringFunc(s, func(match string) string {
		m := assignment().FindStringSubmatch(match)
		if value := strings.Trim(m[2], `"`); strings.HasPrefix(value, "/") || strings.Contains(value, redacted) {
			return match // the path of a secret is no secret, and checks ask for it
		}
		if strings.HasPrefix(m[2], `"`) {
			return m[1] + `"` + redacted + `"`
		}
		return m[1] + redacted
	})
}
