package host

import (
	"bytes"
	"iter"
	"slices"
	"strings"
)

// SecretShape is one way to recognise a secret by its bytes.
type SecretShape struct {
	What string // as a report names it: "a private key (PEM)"
	// What every such secret has, each with a line break behind it; it is looked at only where one of them stands. They are no list, since a program's
	// strings lie one behind the other: a mark with some name behind it looks like a secret, and hostcheck would find one in itself.
	Marks string
	// Is tells whether the mark at b[at:end] is that of a secret. It looks at no more than LongestShape bytes around it.
	Is func(b []byte, at, end int) bool
}

// MarkSeq is each of the marks.
func (s *SecretShape) MarkSeq() iter.Seq[string] {
	return strings.SplitSeq(strings.TrimSuffix(s.Marks, "\n"), "\n")
}

// SecretShapes lists what Secrets recognises, for who looks through something else than a host. The list is shared.
func SecretShapes() []SecretShape { return secretShapes }

// secretShapes are written out and not regular expressions: a walk puts every file of a machine before them, and all but a few
// have no mark at all. is gets the bytes, and where the mark begins and ends.
var secretShapes = []SecretShape{
	{"a private key (PEM)", "PRIVATE KEY\n", pemPrivateKey},
	// PEM once more in base64, as kubeconfig files and user data have it: "-----BEGIN (RSA |EC |OPENSSH )PRIVATE KEY".
	{"a private key (PEM in base64)", "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS\nLS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVkt\nLS0tLS1CRUdJTiBFQyBQUklWQVRFIEtFWS\nLS0tLS1CRUdJTiBPUEVOU1NIIFBSSVZBVEUgS0VZ\n", followed(isBase64, 20)},
	{"a private key (PuTTY)", "PuTTY-User-Key-File-\n", followed(isWord, 1)},
	{"a private key (age)", "AGE-SECRET-KEY-1\n", followed(isWord, 40)},
	{"a token of Vault or OpenBao", "hvs.\nhvb.\nhvr.\n", apart(followed(isBase64URL, 20))},
	{"an unseal key of Vault or OpenBao", "Unseal Key \nRecovery Key \n\"unseal_keys_b64\"\n\"recovery_keys_b64\"\n", unsealKey},
	{"an access key of AWS", "AKIA\nASIA\n", apart(exactly(isUpperDigit, 16))},
	{"a secret access key of AWS", "aws_secret_access_key\nAWS_SECRET_ACCESS_KEY\nSecretAccessKey\n", assigned(isBase64, 40)},
	{"an API key of Google", "AIza\n", apart(exactly(isBase64URL, 35))},
	{"an OAuth token of Google", "ya29.\n", apart(followed(isBase64URL, 20))},
	{"a client secret of Google", "GOCSPX-\n", apart(followed(isBase64URL, 28))},
	{"a storage key of Azure", "AccountKey=\n", followed(isBase64, 86)},
	{"a client secret of Azure", "Q~\n", azureSecret},
	{"a token of GitHub", "ghp_\ngho_\nghs_\nghu_\nghr_\n", apart(followed(isWord, 36))},
	{"a token of GitHub", "github_pat_\n", apart(followed(isWord, 50))},
	{"a token of GitLab", "glpat-\n", apart(followed(isBase64URL, 20))},
	{"a token of Slack", "xoxb-\nxoxp-\nxoxa-\nxoxs-\nxoxr-\n", apart(followed(isBase64URL, 20))},
	{"a token of Terraform", ".atlasv1.\n", followed(isBase64URL, 50)},
	{"a token of npm", "npm_\n", apart(exactly(isWord, 36))},
	{"a JSON web token", "eyJ\n", apart(webToken)},
	{"a password in a URL", "://\n", passwordInURL},
}

// LongestShape is how many bytes a shape looks at, at most: what lies farther from a mark does not matter.
const LongestShape = 1024

// shapesIn lists what of secretShapes the bytes hold. known are those that need not be looked for any more.
func shapesIn(b []byte, known map[string]bool) {
	for _, s := range secretShapes {
		for mark := range s.MarkSeq() {
			for from := 0; !known[s.What]; {
				at := bytes.Index(b[from:], []byte(mark))
				if at < 0 {
					break
				}
				at += from
				from = at + len(mark)
				if s.Is(b, at, from) {
					known[s.What] = true
				}
			}
		}
	}
}

// SecretFile recognises a file by how it begins, "" for none: what is not text has no marks.
func SecretFile(b []byte) string {
	der := func(prefix ...byte) bool {
		return len(b) > 4 && b[0] == 0x30 && b[1] == 0x82 && bytes.HasPrefix(b[4:], prefix)
	}
	switch {
	case bytes.HasPrefix(b, []byte{0xfe, 0xed, 0xfe, 0xed}), bytes.HasPrefix(b, []byte{0xce, 0xce, 0xce, 0xce}):
		return "a key store (Java)"
	case der(2, 1, 3, 0x30):
		return "a key store (PKCS#12)"
	case der(2, 1, 0, 0x30, 0x0d, 6, 9), der(2, 1, 0, 2, 0x82), // PKCS#8, PKCS#1
		bytes.HasPrefix(b, []byte{0x30, 0x77, 2, 1, 1, 4, 0x20}), bytes.HasPrefix(b, []byte{0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65}): // P-256, Ed25519
		return "a private key (DER)"
	}
	return ""
}

func isBase64(c byte) bool     { return isWord(c) && c != '_' || c == '+' || c == '/' || c == '=' }
func isBase64URL(c byte) bool  { return isWord(c) || c == '-' }
func isUpperDigit(c byte) bool { return c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' }

// run is how many bytes from a place on are of a set, no more than most.
func run(b []byte, from, most int, set func(byte) bool) int {
	n := 0
	for n < most && from+n < len(b) && set(b[from+n]) {
		n++
	}
	return n
}

type recogniser = func(b []byte, at, end int) bool

// followed wants at least so many bytes of a set behind the mark.
func followed(set func(byte) bool, fewest int) recogniser {
	return func(b []byte, _, end int) bool { return run(b, end, fewest, set) == fewest }
}

// exactly wants so many and no more.
func exactly(set func(byte) bool, n int) recogniser {
	return func(b []byte, _, end int) bool { return run(b, end, n+1, set) == n }
}

// apart wants the mark not to be the end of a longer word.
func apart(is recogniser) recogniser {
	return func(b []byte, at, end int) bool { return (at == 0 || !isBase64URL(b[at-1])) && is(b, at, end) }
}

// assigned wants a value of exactly so many bytes behind the mark and what assigns it.
func assigned(set func(byte) bool, n int) recogniser {
	return func(b []byte, _, end int) bool {
		// "=" is of the set too: it is passed over here.
		gap := run(b, end, 16, func(c byte) bool { return strings.IndexByte(` "':=`+"\t", c) >= 0 })
		return gap > 0 && run(b, end+gap, n+1, set) == n
	}
}

// pemPrivateKey wants "-----BEGIN … PRIVATE KEY-----" with something behind it: a program that looks for private keys has the
// words alone. Between the lines may be a line break, or one that JSON has escaped.
func pemPrivateKey(b []byte, at, end int) bool {
	const begin = "-----BEGIN "
	start := bytes.LastIndex(b[max(0, at-40):at], []byte(begin))
	if start < 0 {
		return false
	}
	for _, c := range b[max(0, at-40)+start+len(begin) : at] {
		if !isUpperDigit(c) && c != ' ' {
			return false
		}
	}
	rest := bytes.TrimPrefix(b[end:min(len(b), end+LongestShape)], []byte(" BLOCK"))
	rest, ok := bytes.CutPrefix(rest, []byte("-----"))
	if !ok {
		return false
	}
	rest = bytes.TrimLeft(rest, " \t\r\n\\nr")
	for _, header := range []string{"Proc-Type:", "Version:", "Comment:", "DEK-Info:"} {
		if bytes.HasPrefix(rest, []byte(header)) {
			return true
		}
	}
	return run(rest, 0, 16, isBase64) == 16
}

// unsealKey wants what `operator init` prints: "Unseal Key 1: …", or its JSON.
func unsealKey(b []byte, at, end int) bool {
	if b[at] == '"' {
		end += run(b, end, 64, func(c byte) bool { return strings.IndexByte(" :[\"\r\n\t", c) >= 0 })
		return run(b, end, 40, isBase64) == 40
	}
	digits := run(b, end, 3, func(c byte) bool { return c >= '0' && c <= '9' })
	end += digits
	return digits > 0 && bytes.HasPrefix(b[end:], []byte(": ")) && run(b, end+2, 40, isBase64) == 40
}

// azureSecret: three characters and a digit before "Q~", 31 to 34 behind it.
func azureSecret(b []byte, at, end int) bool {
	set := func(c byte) bool { return isBase64URL(c) || c == '~' || c == '.' }
	n := run(b, end, 35, set)
	return at >= 4 && b[at-1] >= '0' && b[at-1] <= '9' && set(b[at-2]) && set(b[at-3]) && set(b[at-4]) && n >= 31 && n <= 34
}

// webToken wants header, payload and signature; both of the first are JSON objects.
func webToken(b []byte, _, end int) bool {
	for _, next := range []string{".eyJ", "."} {
		n := run(b, end, LongestShape, isBase64URL)
		if n < 8 || !bytes.HasPrefix(b[end+n:], []byte(next)) {
			return false
		}
		end += n + len(next)
	}
	return run(b, end, 16, isBase64URL) == 16
}

// passwordInURL wants user:password@host. What documentation and templates write there is no password.
func passwordInURL(b []byte, _, end int) bool {
	part := func(c byte) bool { return c > ' ' && c < 0x7f && strings.IndexByte(`/:@"'<>\`, c) < 0 }
	user := run(b, end, 128, part)
	if !bytes.HasPrefix(b[min(len(b), end+user):], []byte(":")) {
		return false
	}
	end += user + 1
	n := run(b, end, 128, part)
	return n > 0 && bytes.HasPrefix(b[end+n:], []byte("@")) && isValue(b[end:end+n]) && run(b, end+n+1, 1, isBase64URL) == 1
}

// secretNames are how names end whose values are secrets. Compared in lower case without what separates words.
var secretNames = []string{
	"password", "passwd", "passphrase", "secret", "secretkey", "secretaccesskey", "token", "apikey", "accesskey", "privatekey", "unsealkey", "credentials",
}

// mostNames bounds what is told of one file.
const mostNames = 8

// namesIn lists names that tell of a secret and have a value: DB_PASSWORD=…, password: …, "token": "…".
func namesIn(b []byte, known map[string]bool) {
	for from := 0; len(known) < mostNames; {
		at := bytes.IndexAny(b[from:], "=:")
		if at < 0 {
			return
		}
		at += from
		from = at + 1
		end := at
		for end > 0 && strings.IndexByte(" \t\"'", b[end-1]) >= 0 && at-end < 8 {
			end--
		}
		start := end
		for start > 0 && end-start < 64 && (isBase64URL(b[start-1]) || b[start-1] == '.') {
			start--
		}
		if name := b[start:end]; tellsSecret(name) && isValue(valueAt(b, from)) {
			known[string(name)] = true
		}
	}
}

func tellsSecret(name []byte) bool {
	if len(name) < 5 {
		return false
	}
	plain := strings.NewReplacer("_", "", "-", "", ".", "").Replace(strings.ToLower(string(name)))
	return slices.ContainsFunc(secretNames, func(n string) bool { return strings.HasSuffix(plain, n) })
}

// valueAt is the word behind an assignment, without quotes.
func valueAt(b []byte, from int) []byte {
	from += run(b, from, 8, func(c byte) bool { return c == ' ' || c == '\t' })
	if from < len(b) && (b[from] == '"' || b[from] == '\'') {
		quote := b[from]
		from++
		return b[from : from+run(b, from, LongestShape, func(c byte) bool { return c != quote && c != '\n' })]
	}
	return b[from : from+run(b, from, LongestShape, func(c byte) bool { return c > ' ' && strings.IndexByte(`,;"'#`, c) < 0 })]
}

// isValue says whether a value is one, and not a reference to a value, the place of one, or a word of documentation.
func isValue(v []byte) bool {
	if len(v) < 4 || strings.IndexByte("$/<{%*([|>&!", v[0]) >= 0 || bytes.HasPrefix(v, []byte("env:")) || bytes.HasPrefix(v, []byte("file:")) {
		return false
	}
	switch strings.ToLower(string(v)) {
	case "true", "false", "null", "none", "required", "optional", "sufficient", "requisite", "include", "files", "compat", "prompt", "pass",
		"password", "passwd", "secret", "token", "xxxx", "xxxxx", "xxxxxx", "changeme", "example", "redacted", "default",
		"disabled", "enabled", "unset", "unknown":
		return false
	}
	return strings.Trim(string(v), "*.xX-_") != ""
}
