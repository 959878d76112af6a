package host_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/strongroom/strongroom/internal/host"
)

// fake makes a secret that nobody can take for a real one, and that no scanner of this repository finds in the source.
func fake(prefix, set string, n int) string {
	return prefix + strings.Repeat(set, n/len(set)+1)[:n]
}

// keys are real ones, in the encodings in which they are left behind.
func keys(t testing.TB) map[string][]byte {
	t.Helper()
	must := func(b []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	must(nil, err)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(nil, err)
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	must(nil, err)
	open, err := ssh.MarshalPrivateKey(ed, "somebody")
	must(nil, err)
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(ed, "somebody", []byte("a passphrase"))
	must(nil, err)
	block := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	pkcs8 := must(x509.MarshalPKCS8PrivateKey(rs))
	sec1 := must(x509.MarshalECPrivateKey(ec))
	service := must(json.Marshal(map[string]string{"type": "service_account", "private_key": string(block("PRIVATE KEY", pkcs8))}))
	old := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}, Bytes: []byte("x")})
	return map[string][]byte{
		"openssh": pem.EncodeToMemory(open), "openssh, with a passphrase": pem.EncodeToMemory(locked),
		"pkcs8": block("PRIVATE KEY", pkcs8), "pkcs1": block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rs)), "sec1": block("EC PRIVATE KEY", sec1),
		"encrypted, the old way": old, "in JSON": service, "with carriage returns": bytes.ReplaceAll(block("PRIVATE KEY", pkcs8), []byte("\n"), []byte("\r\n")),
		"DER, pkcs8": pkcs8, "DER, pkcs1": x509.MarshalPKCS1PrivateKey(rs), "DER, sec1": sec1, "DER, ed25519": must(x509.MarshalPKCS8PrivateKey(ed)),
		"base64 of PEM, pkcs8":   []byte("client-key-data: " + base64.StdEncoding.EncodeToString(block("PRIVATE KEY", pkcs8))),
		"base64 of PEM, pkcs1":   []byte("client-key-data: " + base64.StdEncoding.EncodeToString(block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rs)))),
		"base64 of PEM, sec1":    []byte("client-key-data: " + base64.StdEncoding.EncodeToString(block("EC PRIVATE KEY", sec1))),
		"base64 of PEM, openssh": []byte("ssh: " + base64.StdEncoding.EncodeToString(pem.EncodeToMemory(open))),
	}
}

func TestPrivateKeysAreFound(t *testing.T) {
	for name, content := range keys(t) {
		for _, before := range []int{0, 7, 64<<10 - 20} { // the last one lies over the end of a window
			if strings.HasPrefix(name, "DER") && before > 0 {
				continue
			}
			found, err := host.FindSecrets(io.MultiReader(strings.NewReader(strings.Repeat("x ", before/2)+"\n"), bytes.NewReader(content)))
			if before == 0 {
				found, err = host.FindSecrets(bytes.NewReader(content))
			}
			if err != nil || len(found.Shapes) == 0 || !strings.HasPrefix(found.Shapes[0], "a private key") {
				t.Errorf("%s behind %d bytes: %v, %v", name, before, found, err)
			}
		}
	}
}

// Each is a secret, and what it is called.
func secretTexts() map[string]string {
	const base, url, word, upper = "aB3dE5gH7jK9mN+/", "aB3dE5gH-7jK_9mN", "aB3dE5gH7jK9mNpQ", "AB3DE5GH7JK9MNPQ"
	return map[string]string{
		fake("hvs.", url, 24):                                                "a token of Vault or OpenBao",
		"export VAULT_TOKEN=" + fake("hvb.", url, 90):                        "a token of Vault or OpenBao",
		"Unseal Key 1: " + fake("", base, 44) + "\n":                         "an unseal key of Vault or OpenBao",
		`{"unseal_keys_b64": ["` + fake("", base, 44) + `"`:                  "an unseal key of Vault or OpenBao",
		fake("AK"+"IA", upper, 16):                                           "an access key of AWS",
		"aws_secret_access_key = " + fake("", base, 40):                      "a secret access key of AWS",
		`"SecretAccessKey": "` + fake("", base, 40) + `"`:                    "a secret access key of AWS",
		"key=" + fake("AI"+"za", url, 35):                                    "an API key of Google",
		fake("ya29"+".", url, 60):                                            "an OAuth token of Google",
		fake("GOCSPX"+"-", word, 28):                                         "a client secret of Google",
		fake("Account"+"Key=", base, 86) + "==":                              "a storage key of Azure",
		fake("abc8Q"+"~", word, 34):                                          "a client secret of Azure",
		fake("gh"+"p_", word, 36):                                            "a token of GitHub",
		fake("github"+"_pat_", word, 82):                                     "a token of GitHub",
		fake("gl"+"pat-", word, 20):                                          "a token of GitLab",
		fake("xo"+"xb-", word, 40):                                           "a token of Slack",
		fake("aB3dE5gH7jK9mN.atlasv1"+".", word, 67):                         "a token of Terraform",
		fake("np"+"m_", word, 36):                                            "a token of npm",
		fake("eyJ", word, 30) + fake(".eyJ", word, 40) + fake(".", word, 43): "a JSON web token",
		"deb https://bot:" + fake("", word, 12) + "@archive.example.net/":    "a password in a URL",
		fake("AGE-SECRET-KEY-1", upper, 58):                                  "a private key (age)",
		"PuTTY-User-Key-File-3: ssh-ed25519\n":                               "a private key (PuTTY)",
		"\xfe\xed\xfe\xed\x00\x00\x00\x02":                                   "a key store (Java)",
		"\x30\x82\x0a\x00\x02\x01\x03\x30\x82":                               "a key store (PKCS#12)",
	}
}

func TestSecretsAreFound(t *testing.T) {
	for text, want := range secretTexts() {
		found, err := host.FindSecrets(strings.NewReader(text))
		if err != nil || !slices.Contains(found.Shapes, want) {
			t.Errorf("%q: %v, %v; want %q", text, found.Shapes, err, want)
		}
		// What is told of a file is never in it.
		for _, told := range found.Shapes {
			if strings.Contains(text, told) {
				t.Errorf("%q is told of %q", told, text)
			}
		}
	}
}

func TestNoSecretsWhereThereAreNone(t *testing.T) {
	for _, text := range []string{
		"", "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUe\n", "-----BEGIN PUBLIC KEY-----\nMIIBszCCAVmgAwIBAgIUe\n",
		`grep -q -- "-----BEGIN RSA PRIVATE KEY-----" "$file"`, "ssl_key = PRIVATE KEY", "hvs.short", "myhvs.aB3dE5gH7jK9mNpQaB3dE5gH7jK9",
		fake("xAK"+"IA", "AB3DE5GH7JK9MNPQ", 16), fake("AK"+"IA", "AB3DE5GH7JK9MNPQ", 40), "https://example.net:8200/v1@x", "http://user:$PASS@proxy/",
		"http://user:password@proxy.example/", "mailto:a@b", "aws_secret_access_key = $SECRET", "eyJhbGciOi.eyJ", "Unseal Key %d: %s", "AccountKey=...",
	} {
		if found, err := host.FindSecrets(strings.NewReader(text)); err != nil || len(found.Shapes) > 0 {
			t.Errorf("%q: %v, %v", text, found.Shapes, err)
		}
	}
}

func TestNamesThatTellOfASecret(t *testing.T) {
	for text, want := range map[string]string{
		"DB_PASSWORD=hunter22\n": "DB_PASSWORD", "export API_TOKEN='a b c d'\n": "API_TOKEN", "  password: hunter22": "password", `"client_secret": "aaaabbbb",`: "client_secret",
		"plain_text_passwd: hunter22": "plain_text_passwd", "curl -d token=abcdefgh": "token",
		"PASSWORD=": "", "PASSWORD=$1": "", "password: ${secret}": "", "passwd: files systemd": "", "token=/run/token": "", "PASSWORD=********": "", "hashed_passwd: $6$abc": "",
		"PASS_MAX_DAYS=9999": "", "tokens: 3333": "", "lock_passwd: True": "", "headers: {'X-aws-ec2-metadata-token': 'REDACTED'}": "", "X-aws-ec2-metadata-token-ttl-seconds: 21600": "", "chpasswd: {expire: False}": "", "password required pam_unix.so": "",
	} {
		found, err := host.FindSecrets(strings.NewReader(text))
		if got := strings.Join(found.Names, ","); err != nil || got != want {
			t.Errorf("%q: names %q, %v; want %q", text, got, err, want)
		}
	}
}

func TestSecretsOfAFileInATree(t *testing.T) {
	dir := t.TempDir()
	token := fake("hvs.", "aB3dE5gH7jK9mNpQ", 24)
	must(t, os.WriteFile(filepath.Join(dir, "token"), []byte(strings.Repeat("x", 200<<10)+" "+token), 0o600))
	must(t, os.Mkdir(filepath.Join(dir, "directory"), 0o700))
	tree, err := host.Tree(dir)
	must(t, err)
	defer tree.Close()
	recorder := host.NewRecorder(tree)
	if found, err := recorder.Secrets("/token"); err != nil || !slices.Equal(found.Shapes, []string{"a token of Vault or OpenBao"}) {
		t.Errorf("%v, %v", found, err)
	}
	if _, err := recorder.Secrets("/directory"); err == nil {
		t.Error("a directory was read")
	}
	if _, err := recorder.Secrets("/gone"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	// A recording has the answer, and nothing of the file.
	var out bytes.Buffer
	_, err = recorder.WriteTo(&out)
	must(t, err)
	if bytes.Contains(out.Bytes(), []byte(token)) {
		t.Error("the recording has the secret")
	}
	replay, err := host.ReplayBytes(out.Bytes())
	must(t, err)
	if found, err := replay.Secrets("/token"); err != nil || !slices.Equal(found.Shapes, []string{"a token of Vault or OpenBao"}) {
		t.Errorf("replayed: %v, %v", found, err)
	}
}

func TestTooLargeToLookThrough(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "large"), nil, 0o600))
	must(t, os.Truncate(filepath.Join(dir, "large"), host.MaxScan+1))
	tree, err := host.Tree(dir)
	must(t, err)
	defer tree.Close()
	if _, err := tree.Secrets("/large"); !errors.Is(err, host.ErrTooLarge) {
		t.Errorf("%v", err)
	}
}

func FuzzFindSecrets(f *testing.F) {
	for text := range secretTexts() {
		f.Add([]byte(text))
	}
	for _, content := range keys(f) {
		f.Add(content)
	}
	f.Add([]byte("DB_PASSWORD=hunter22\npassword: \"x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		found, err := host.FindSecrets(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if len(found.Names) > 8 || !slices.IsSorted(found.Shapes) || !slices.IsSorted(found.Names) {
			t.Fatalf("%v", found)
		}
		// A secret at the end of a long file is found like one at the beginning of a short one.
		if len(found.Shapes) > 0 && !strings.HasPrefix(found.Shapes[0], "a key store") && !strings.HasSuffix(found.Shapes[0], "(DER)") && len(b) < 1024 {
			again, err := host.FindSecrets(io.MultiReader(strings.NewReader(strings.Repeat("\n", 64<<10-len(b)/2)), bytes.NewReader(b)))
			if err != nil || len(again.Shapes) == 0 {
				t.Fatalf("%v at the beginning, %v behind a window, %v", found, again, err)
			}
		}
	})
}
