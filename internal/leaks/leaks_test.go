package leaks_test

import (
	"archive/tar"
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	mathrand "math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/strongroom/strongroom/internal/leaks"
)

// Secrets are made when they are needed, and their prefixes are put together there: the sources of this project hold none.

// random is the same in every run, since some of what is random looks like what the rules know to be no secret.
func random(t testing.TB, alphabet string, n int) string {
	t.Helper()
	made := calls[t.Name()]
	if made == 0 {
		t.Cleanup(func() { delete(calls, t.Name()) })
	}
	calls[t.Name()] = made + 1
	b := make([]byte, n)
	mathrand.NewChaCha8(sha256.Sum256(fmt.Appendf(nil, "%s %d", t.Name(), made))).Read(b)
	for i := range b {
		b[i] = alphabet[int(b[i])%len(alphabet)]
	}
	return string(b)
}

var calls = map[string]int{} // of random, by the test

const (
	lower   = "abcdefghijklmnopqrstuvwxyz"
	upper   = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits  = "0123456789"
	word    = lower + upper + digits
	base32  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	hexs    = "0123456789abcdef"
	base64s = word + "+/"
)

func pemKey(t testing.TB) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func rsaKey(t testing.TB) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}

func derKey(t testing.TB) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(der)
}

// clean is a tree as an image has it: what looks a little like a finding is none.
func clean() fstest.MapFS {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	return fstest.MapFS{
		"etc/machine-id":                 file(""),
		"etc/hostname":                   file("vault\n"),
		"etc/passwd":                     file("root:x:0:0:root:/root:/usr/sbin/nologin\n"),
		"etc/ssh/sshd_config":            file("AuthorizedKeysFile .ssh/authorized_keys\nHostKey /etc/ssh/ssh_host_ed25519_key\n"),
		"etc/default/vault":              file("VAULT_TOKEN=${TOKEN}\nPASSWORD=changeme\n"),
		"etc/ssl/certs/ca.pem":           file("-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUe2\n-----END CERTIFICATE-----\n"),
		"opt/app/.env.example":           file("DB_PASSWORD=\n"),
		"root/.bashrc":                   file("alias ls='ls --color'\n"),
		"root/.profile":                  file("umask 077\n"),
		"usr/share/doc/keys.txt":         file("A private key begins with -----BEGIN PRIVATE KEY----- and ends with -----END PRIVATE KEY-----.\n"),
		"usr/share/doc/vault.txt":        file("VAULT_TOKEN=hvs.EXAMPLE vault status; see https://user:password@example.com\n"),
		"usr/include/linux/input.h":      file("#define KEY_UTF8_HASH COPHH_KEY_UTF8\n"),
		"usr/bin/tool":                   file("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00>\x00 hvs.\x00AKIA\x00 eyJ\x00"),
		"usr/lib/python3/tests/token.py": file("token = get_token_from_environment()\n"),
		"var/log/empty.log":              file(""),
	}
}

// planted are secrets by the path that each is put at.
func planted(t testing.TB) []struct{ name, path, kind, text, secret string } {
	t.Helper()
	type plant = struct{ name, path, kind, text, secret string }
	var all []plant
	secret := func(name, path, kind, format, value string) {
		all = append(all, plant{name, path, kind, strings.ReplaceAll(format, "@", value), value})
	}
	key := pemKey(t)
	body := strings.Split(key, "\n")[1]
	secret("TLS key", "etc/vault.d/tls.key", "private-key", "@", key)
	secret("RSA key below a certificate", "opt/app/server.pem", "private-key", "-----BEGIN CERTIFICATE-----\nMIIBszCC\n-----END CERTIFICATE-----\n@", rsaKey(t))
	secret("key in JSON", "opt/app/service.json", "private-key", `{"key": "@"}`, strings.ReplaceAll(key, "\n", `\n`))
	secret("key without its end", "usr/share/misc/cut", "private-key", "-----BEGIN PRIVATE KEY-----\n@\n", body)
	secret("key in base64", "opt/app/values.yaml", "private-key", "ca: @\n", base64.StdEncoding.EncodeToString([]byte(key)))
	secret("DER key", "etc/ssl/private/server", "key-store", "@", derKey(t))
	secret("Java key store", "opt/app/keystore.jks", "key-store", "\xfe\xed\xfe\xed\x00\x00\x00\x02@", random(t, word, 40))
	secret("PKCS#12 by name", "opt/app/server.p12", "pkcs12-file", "@", random(t, word, 40))
	secret("age key", "srv/backup/key.txt", "age-secret-key", "# created\n@\n", "AGE-SECRET-"+"KEY-1"+random(t, "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58))
	secret("service token of Vault", "etc/app.conf", "vault-service-token", "token = \"@\"\n", "hv"+"s."+random(t, word, 95))
	secret("old token of Vault", "etc/app.conf", "vault-service-token", "VAULT_TOKEN=@\n", "s"+"."+random(t, word, 24))
	secret("batch token of Vault", "etc/app.conf", "vault-batch-token", "VAULT_TOKEN=@\n", "hv"+"b."+random(t, word, 160))
	secret("recovery token of Vault", "etc/app.conf", "vault-token", "VAULT_TOKEN=@\n", "hv"+"r."+random(t, word, 40))
	secret("unseal key", "srv/notes.txt", "unseal-key", "Unseal Key 1: @\n", random(t, base64s, 43)+"=")
	secret("recovery keys as JSON", "srv/init.json", "unseal-key", `{"recovery_keys_b64": ["@"]}`, random(t, base64s, 43)+"=")
	secret("access key of AWS", "usr/local/bin/upload", "aws-access-token", "#!/bin/sh\nexport AWS_ACCESS_KEY_ID=@\n", "AK"+"IA"+random(t, base32, 16))
	secret("secret key of AWS", "usr/local/bin/upload", "aws-secret-key", "aws_secret_access_key = @\n", random(t, base64s, 40))
	secret("API key of Google", "etc/maps.js", "gcp-api-key", "key: '@'\n", "AI"+"za"+random(t, word, 35))
	secret("storage key of Azure", "etc/blob.conf", "azure-storage-key", "DefaultEndpointsProtocol=https;AccountKey=@\n", random(t, base64s, 86)+"==")
	secret("client secret of Azure", "etc/blob.conf", "azure-ad-client-secret", "secret: \"@\"\n", random(t, word, 3)+"8Q"+"~"+random(t, word, 34))
	secret("token of GitHub", "usr/local/etc/ci", "github-pat", "@\n", "gh"+"p_"+random(t, word, 36))
	secret("token of GitLab", "usr/local/etc/ci", "gitlab-pat", "@\n", "gl"+"pat-"+random(t, word, 20))
	secret("token of Slack", "usr/local/etc/ci", "slack-bot-token", "@\n", "xox"+"b-"+random(t, digits, 11)+"-"+random(t, digits, 12)+"-"+random(t, word, 24))
	secret("generic API key", "usr/local/etc/ci", "generic-api-key", "api_key = \"@\"\n", random(t, hexs, 32))
	secret("password in a URL", "etc/db.conf", "url-password", "postgres://app:@/app\n", random(t, word, 16)+"@db:5432")
	secret("token in a program", "usr/local/bin/agent", "github-pat", "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00>\x00@\x00", "gh"+"p_"+random(t, word, 36))
	secret("host key of SSH", "etc/ssh/ssh_host_rsa_key.pub", "ssh-host-key", "ssh-rsa @ root@host\n", random(t, base64s, 60))
	secret("machine id", "etc/machine-id", "machine-id", "@\n", random(t, hexs, 32))
	secret("random seed", "var/lib/systemd/random-seed", "random-seed", "@", random(t, word, 512))
	secret("credential secret", "var/lib/systemd/credential.secret", "host-secret", "@", random(t, word, 64))
	secret("authorized keys", "root/.ssh/authorized_keys", "authorized-keys", "ssh-ed25519 @ me\n", random(t, base64s, 60))
	secret("shell history", "root/.bash_history", "shell-history", "vault login @\n", random(t, lower, 12))
	secret("netrc", "home/ci/.netrc", "netrc", "machine example.com login me password @\n", random(t, word, 12))
	secret("pgpass", "root/.pgpass", "pgpass", "db:5432:*:app:@\n", random(t, word, 12))
	secret("log-in of Docker", "root/.docker/config.json", "docker-config", `{"credsStore": "@"}`, random(t, lower, 12))
	secret("log-in of Kubernetes", "home/ci/.kube/config", "kube-config", "users: [{user: {password: @}}]\n", random(t, lower, 12))
	secret("token file of Vault", "root/.vault-token", "vault-token-file", "@", "not-a-known-shape-"+random(t, lower, 12))
	secret("credentials of AWS", "root/.aws/credentials", "cloud-credentials", "[default]\nrole_arn = @\n", random(t, lower, 12))
	secret("credentials of Git", "root/.git-credentials", "git-credentials", "@", random(t, lower, 12))
	secret("state of Terraform", "srv/infra/terraform.tfstate", "terraform-state", `{"version": 4, "lineage": "@"}`, random(t, lower, 12))
	secret("private key of GnuPG", "root/.gnupg/private-keys-v1.d/A.key", "gnupg-key", "@", random(t, word, 40))
	secret("keytab", "etc/krb5.keytab", "keytab", "\x05\x02@", random(t, word, 40))
	secret("environment file", "opt/app/.env", "dot-env", "DB_PASSWORD=@\n", random(t, lower, 10))
	secret("data of Vault", "opt/vault/data/raft/raft.db", "vault-data", "@", random(t, word, 40))
	secret("state of cloud-init", "var/lib/cloud/instances/i-1/user-data.txt", "cloud-init-state", "#cloud-config\npassword: @\n", random(t, lower, 10))
	secret("package cache", "var/cache/apt/archives/a_1_amd64.deb", "package-cache", "!<arch>\n@", random(t, lower, 10))
	secret("core file", "srv/core.1234", "core-file", "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04\x00>\x00@", random(t, word, 40))
	secret("crash in its place", "var/crash/_usr_bin_app.crash", "core-file", "@", random(t, word, 40))
	secret("swap file", "swapfile", "swap-file", strings.Repeat("\x00", 4086)+"SWAPSPACE2@", random(t, word, 40))
	secret("editor's backup", "etc/.shadow.swp", "editor-backup", "b0VIM 9.1@", random(t, word, 40))
	secret("log", "var/log/install.log", "log", "installed @\n", random(t, lower, 10))
	secret("home", "home/ci/notes.txt", "home-content", "@\n", random(t, lower, 10))
	return all
}

func scan(t testing.TB, tree fs.FS, allow ...leaks.Allowance) []leaks.Finding {
	t.Helper()
	found, err := leaks.Scan(t.Context(), tree, allow)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Every one is found at its path, once, and alone; and nothing that is told has the secret.
func TestPlanted(t *testing.T) {
	for _, p := range planted(t) {
		t.Run(p.name, func(t *testing.T) {
			tree := clean()
			tree[p.path] = &fstest.MapFile{Data: []byte(p.text)}
			found := scan(t, tree)
			whole := "/" + p.path
			if p.kind == "cloud-init-state" || p.kind == "package-cache" {
				whole = map[string]string{"cloud-init-state": "/var/lib/cloud", "package-cache": "/var/cache/apt"}[p.kind]
			}
			if len(found) != 1 || found[0].Kind != p.kind || found[0].Path != whole {
				t.Fatalf("want one %s at %s, got %v", p.kind, whole, found)
			}
			f := found[0]
			if f.Reason == "" || f.Fix == "" {
				t.Errorf("no reason or no way out: %+v", f)
			}
			if strings.Contains(f.String()+f.Fix, p.secret) {
				t.Errorf("the secret is told: %v", f)
			}
			if f.Fingerprint != "" && f.Line > 0 {
				if want := strings.Count(p.text[:f.Offset], "\n") + 1; f.Line != want {
					t.Errorf("line %d, want %d", f.Line, want)
				}
			}
		})
	}
}

func TestClean(t *testing.T) {
	if found := scan(t, clean()); len(found) > 0 {
		t.Errorf("found %v in a tree that has none", found)
	}
}

// A secret is found wherever the chunks are cut that a file is read in.
func TestWhereverItLies(t *testing.T) {
	key, token := pemKey(t), "gh"+"p_"+random(t, word, 36)
	for _, at := range []int{0, 1<<20 - 600, 1<<20 - 20<<10 - 10, 1<<20 - 16<<10 - 5, 1<<20 - 17, 1<<20 - 1, 1 << 20, 2<<20 - 30<<10, 2<<20 - 20<<10 + 3} {
		for _, secret := range []string{key, token} {
			filler := bytes.Repeat([]byte("all is well\n"), 3<<20/12)
			data := slices.Concat(filler[:at], []byte("\n"+secret+"\n"), filler[at:])
			found := scan(t, fstest.MapFS{"srv/big.txt": {Data: data}})
			if len(found) != 1 || found[0].Offset != int64(at)+1 {
				t.Fatalf("at %d: %v", at, found)
			}
			if want := bytes.Count(data[:at+1], []byte("\n")) + 1; found[0].Line != want {
				t.Errorf("at %d: line %d, want %d", at, found[0].Line, want)
			}
		}
	}
}

// An allowance silences one finding; one that names none, or more than one, is an error.
func TestAllowances(t *testing.T) {
	tree := clean()
	for _, p := range planted(t) {
		if p.name == "log" || p.name == "host key of SSH" {
			tree[p.path] = &fstest.MapFile{Data: []byte(p.text)}
		}
	}
	tree["opt/two"] = &fstest.MapFile{Data: []byte("gh" + "p_" + random(t, word, 36) + "\n" + "gh" + "p_" + random(t, word, 36) + "\n")}
	all := scan(t, tree)
	if len(all) != 4 {
		t.Fatalf("want four findings: %v", all)
	}
	for i, f := range all {
		left := scan(t, tree, leaks.Allowance{Path: f.Path, Kind: f.Kind, Fingerprint: f.Fingerprint, Reason: "a test"})
		if !slices.Equal(left, slices.Delete(slices.Clone(all), i, i+1)) {
			t.Errorf("allowing %v leaves %v", f, left)
		}
	}
	for _, c := range []struct {
		allow leaks.Allowance
		says  string
	}{
		{leaks.Allowance{Path: "/var/log/install.log", Kind: "netrc", Reason: "r"}, "allows nothing that was found"},
		{leaks.Allowance{Path: "/var/log/other.log", Kind: "log", Reason: "r"}, "allows nothing that was found"},
		{leaks.Allowance{Path: "/opt/two", Kind: "github-pat", Fingerprint: "00000000", Reason: "r"}, "allows nothing that was found"},
		{leaks.Allowance{Path: "/opt/two", Kind: "github-pat", Reason: "r"}, "allows 2 of them"},
	} {
		found, err := leaks.Scan(t.Context(), tree, []leaks.Allowance{c.allow})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: error %v, want %q", c.allow, err, c.says)
		}
		if len(found) != len(all) {
			t.Errorf("%+v: %d findings, want %d", c.allow, len(found), len(all))
		}
	}
	err := leaks.Allowance{Path: "relative"}.Validate()
	for _, want := range []string{"not absolute", "no kind", "no reason"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func pack(t testing.TB, tree fstest.MapFS) io.Reader {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.AddFS(tree); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

// What was clean is not looked at again, by the program that saw it; what has changed is.
func TestMemory(t *testing.T) {
	name := filepath.Join(t.TempDir(), "memory")
	tree := clean()
	look := func() leaks.Report {
		t.Helper()
		m, err := leaks.OpenMemory(name)
		if err != nil {
			t.Fatal(err)
		}
		s := &leaks.Scanner{Memory: m}
		r, err := s.Tar(t.Context(), pack(t, tree), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Save(); err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := look(); r.Remembered != 0 || r.Bytes == 0 || r.Files != len(tree) || len(r.Findings) > 0 {
		t.Errorf("first: %+v", r)
	}
	if r := look(); r.Remembered != r.Bytes || len(r.Findings) > 0 {
		t.Errorf("second: %+v", r)
	}
	tree["etc/hostname"] = &fstest.MapFile{Data: []byte("gh" + "p_" + random(t, word, 36))}
	for range 2 { // a finding is not remembered as clean
		if r := look(); len(r.Findings) != 1 || r.Remembered != r.Bytes-40 {
			t.Errorf("changed: %+v", r)
		}
	}
	// The same bytes in a place where they count for more.
	tree = clean()
	tree["usr/local/etc/key.h"] = &fstest.MapFile{Data: []byte("api_key = \"" + random(t, hexs, 32) + "\"\n")}
	tree["usr/include/key.h"] = tree["usr/local/etc/key.h"]
	if r := look(); len(r.Findings) != 1 {
		t.Errorf("elsewhere: %+v", r)
	}
}

// unreadable is a tree with one file that cannot be read to its end.
type unreadable struct{ fstest.MapFS }

func (u unreadable) Open(name string) (fs.File, error) {
	f, err := u.MapFS.Open(name)
	if name == "etc/hostname" {
		return broken{f}, err
	}
	return f, err
}

type broken struct{ fs.File }

func (broken) Read([]byte) (int, error) { return 0, errors.New("the disk is broken") }

// What could not be looked at is an error, beside what was found in the rest.
func TestUnreadable(t *testing.T) {
	tree := clean()
	tree["var/log/install.log"] = &fstest.MapFile{Data: []byte("x")}
	found, err := leaks.Scan(t.Context(), unreadable{tree}, nil)
	if err == nil || !strings.Contains(err.Error(), "etc/hostname: the disk is broken") || len(found) != 1 {
		t.Errorf("found %v, error %v", found, err)
	}
	whole, err := io.ReadAll(pack(t, tree))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := new(leaks.Scanner).Tar(t.Context(), bytes.NewReader(whole[:700]), nil); err == nil {
		t.Error("a tar that was cut is no error")
	}
}

// Whatever a file holds: no panic, and the finding lies in the file.
func FuzzScan(f *testing.F) {
	f.Add("etc/x", []byte("-----BEGIN PRIVATE KEY-----\n"+hex.EncodeToString([]byte("0123456789012345678901234567890123456789"))+"\n-----END PRIVATE KEY-----"))
	f.Add("root/.netrc", []byte("machine x\x00\xff"))
	f.Add("var/lib/cloud/x", []byte("\x7fELF\x02\x02aaaaaaaaaa\x00\x04"))
	f.Add("x", []byte("s.Q~ey-----begin://:@AKIA\xf0\x9f\x94\x91"))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		if !fs.ValidPath(name) || name == "." {
			t.Skip()
		}
		for _, finding := range scan(t, fstest.MapFS{name: {Data: data}}) {
			if finding.Offset < 0 || finding.Offset > int64(len(data)) || finding.Kind == "" || finding.Path == "" {
				t.Errorf("%+v of %d bytes", finding, len(data))
			}
		}
	})
}
