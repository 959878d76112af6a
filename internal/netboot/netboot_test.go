package netboot_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/cavaliergopher/cpio"

	"github.com/strongroom/strongroom/internal/netboot"
)

const rootHash = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// bundle makes a small one, as a bake does.
func bundle(t testing.TB, signer *netboot.Signer) (string, netboot.Manifest) {
	t.Helper()
	dir := t.TempDir()
	m := netboot.Manifest{Name: "strongroom", Version: "1.2.3", Profile: "vault/metal", RootHash: rootHash, Kernel: "6.12.0",
		CommandLine: "roothash=" + rootHash + " ro strongroom.data_disk=id:nvme-x"}
	for role, content := range map[netboot.Role]string{
		netboot.UnifiedKernel: "MZ uki", netboot.Kernel: "MZ kernel", netboot.Initrd: "zstd", netboot.Root: "070701",
	} {
		sum := sha256.Sum256([]byte(content))
		f := netboot.File{Role: role, Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:])}
		f.Name = netboot.NameOf(role, f.SHA256)
		write(t, dir, f.Name, content)
		m.Files = append(m.Files, f)
	}
	m, err := netboot.Finish(t.Context(), dir, m, signer)
	if err != nil {
		t.Fatal(err)
	}
	return dir, m
}

func write(t testing.TB, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func nameOf(m netboot.Manifest, role netboot.Role) string {
	for _, f := range m.Files {
		if f.Role == role {
			return f.Name
		}
	}
	return ""
}

// identity is a key with a certificate of an authority of its own.
func identity(t testing.TB, key crypto.Signer, usage ...x509.ExtKeyUsage) (certificates []*x509.Certificate) {
	t.Helper()
	authorityKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(c, parent *x509.Certificate, public any) *x509.Certificate {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, c, parent, public, authorityKey)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	authority := issue(root, root, authorityKey.Public())
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "boot"}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: usage}
	return []*x509.Certificate{issue(leaf, authority, key.Public()), authority}
}

func rsaKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newSigner(t testing.TB) (*netboot.Signer, *x509.Certificate) {
	t.Helper()
	key := rsaKey(t)
	certificates := identity(t, key, x509.ExtKeyUsageCodeSigning)
	s, err := netboot.NewSigner(key, certificates)
	if err != nil {
		t.Fatal(err)
	}
	return s, certificates[1]
}

func TestBundleVerifies(t *testing.T) {
	signer, _ := newSigner(t)
	for name, s := range map[string]*netboot.Signer{"unsigned": nil, "signed": signer} {
		t.Run(name, func(t *testing.T) {
			dir, m := bundle(t, s)
			got, err := netboot.Verify(t.Context(), os.DirFS(dir))
			if err != nil {
				t.Fatal(err)
			}
			if got.RootHash != rootHash || len(got.Files) != len(m.Files) || got.Signed != (s != nil) {
				t.Errorf("read %+v", got)
			}
			script, _ := os.ReadFile(filepath.Join(dir, netboot.ScriptName))
			t.Logf("%s", script)
		})
	}
}

// What is not what was baked is refused, whatever of it differs.
func TestBundleRefused(t *testing.T) {
	_, other := bundle(t, nil)
	for name, c := range map[string]struct {
		break_ func(t *testing.T, dir string, m netboot.Manifest)
		want   string
	}{
		"one byte of the root": {func(t *testing.T, dir string, m netboot.Manifest) { write(t, dir, nameOf(m, netboot.Root), "070702") }, "SHA-256"},
		"a file cut short":     {func(t *testing.T, dir string, m netboot.Manifest) { write(t, dir, nameOf(m, netboot.Root), "0707") }, "bytes"},
		"a file missing": {func(t *testing.T, dir string, m netboot.Manifest) {
			os.Remove(filepath.Join(dir, nameOf(m, netboot.Kernel)))
		}, "no such file"},
		"another script": {func(t *testing.T, dir string, m netboot.Manifest) {
			write(t, dir, netboot.ScriptName, "#!ipxe\nshell\n")
		}, "boot.ipxe"},
		"the manifest of another image": {func(t *testing.T, dir string, m netboot.Manifest) {
			text, _ := os.ReadFile(filepath.Join(dir, netboot.ManifestName))
			changed := strings.ReplaceAll(string(text), rootHash, strings.Repeat("ab", 32))
			write(t, dir, netboot.ManifestName, changed)
		}, "command line"},
		"a manifest with a name that its digest does not give": {func(t *testing.T, dir string, m netboot.Manifest) {
			text, _ := os.ReadFile(filepath.Join(dir, netboot.ManifestName))
			write(t, dir, netboot.ManifestName, strings.Replace(string(text), nameOf(other, netboot.Root), "root.cpio", 1))
		}, "cannot be its root"},
		"a path out of the bundle": {func(t *testing.T, dir string, m netboot.Manifest) {
			text, _ := os.ReadFile(filepath.Join(dir, netboot.ManifestName))
			write(t, dir, netboot.ManifestName, strings.Replace(string(text), `"boot.ipxe"`, `"../boot.ipxe"`, 1))
		}, "badly"},
		"an unknown field": {func(t *testing.T, dir string, m netboot.Manifest) {
			text, _ := os.ReadFile(filepath.Join(dir, netboot.ManifestName))
			write(t, dir, netboot.ManifestName, strings.Replace(string(text), `"schema"`, `"more": 1, "schema"`, 1))
		}, "unknown field"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, m := bundle(t, nil)
			c.break_(t, dir, m)
			if _, err := netboot.Verify(t.Context(), os.DirFS(dir)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one about %q", err, c.want)
			}
		})
	}
}

func TestScriptRefused(t *testing.T) {
	signer, _ := newSigner(t)
	_, m := bundle(t, signer)
	good := string(netboot.ScriptOf(m))
	uki := nameOf(m, netboot.UnifiedKernel)
	for name, c := range map[string]struct{ old, new, want string }{
		"a check left out":                {"imgverify " + uki + " " + uki + ".sig\n", "", "has to be checked"},
		"a check of another file":         {"imgverify " + uki, "imgverify x", "has to be checked"},
		"a way past the check":            {uki + ".sig\n", uki + ".sig || goto bios\n", "has to be checked"},
		"no trust":                        {"imgtrust --permanent\n", "", "before imgtrust"},
		"a trust that can be taken back":  {"imgtrust --permanent", "imgtrust", "not among the commands"},
		"a shell":                         {"boot\n:bios", "shell\n:bios", "not among the commands"},
		"a chain to elsewhere":            {"boot\n:bios", "chain http://example.com/\n:bios", "not among the commands"},
		"another command line":            {" ro ", " rw ", "command line"},
		"an addition to the command line": {"id:nvme-x\nimgverify netboot", "id:nvme-x init=/bin/sh\nimgverify netboot", "command line"},
		"a URL":                           {"kernel " + uki, "kernel http://example.com/" + uki, "no file of the bundle"},
		"a boot without its root":         {"initrd " + nameOf(m, netboot.Root) + "\nimgverify " + nameOf(m, netboot.Root) + " " + nameOf(m, netboot.Root) + ".sig\n", "", "no system"},
		"a failure that is passed over":   {"boot\n", "boot || goto bios\n", "goes on"},
		"no first line":                   {"#!ipxe\n", "", "#!ipxe"},
		"no end":                          {"boot\n:bios", ":bios", "not in its place"},
	} {
		t.Run(name, func(t *testing.T) {
			script := strings.Replace(good, c.old, c.new, 1)
			if script == good {
				t.Fatalf("%q is not in the script", c.old)
			}
			if err := netboot.CheckScript([]byte(script), m); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one about %q", err, c.want)
			}
		})
	}
}

// openssl is who else reads such signatures; iPXE's own page makes them with it.
func TestOpenSSLVerifies(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("no openssl here")
	}
	signer, authority := newSigner(t)
	dir, m := bundle(t, signer)
	write(t, dir, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Raw})))
	verify := func(content, signature string) (string, error) {
		out, err := exec.CommandContext(t.Context(), "openssl", "cms", "-verify", "-binary", "-inform", "DER", "-purpose", "any", "-CAfile", filepath.Join(dir, "ca.pem"),
			"-in", filepath.Join(dir, signature), "-content", filepath.Join(dir, content), "-out", "/dev/null").CombinedOutput()
		return string(out), err
	}
	name := nameOf(m, netboot.Root)
	if out, err := verify(name, name+".sig"); err != nil {
		t.Errorf("openssl refuses the signature: %v: %s", err, out)
	}
	if out, err := verify(nameOf(m, netboot.Kernel), name+".sig"); err == nil {
		t.Errorf("the signature is good for another file too: %s", out)
	}
	signature, err := os.ReadFile(filepath.Join(dir, name+".sig"))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := signer.Sign([]byte("070701")); err != nil || !bytes.Equal(again, signature) {
		t.Errorf("the same file has two signatures: %v", err)
	}
}

func TestSignerRefused(t *testing.T) {
	key := rsaKey(t)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		key          crypto.Signer
		certificates []*x509.Certificate
		want         string
	}{
		"another key":         {key, identity(t, rsaKey(t), x509.ExtKeyUsageCodeSigning), "does not belong"},
		"no code signing":     {key, identity(t, key, x509.ExtKeyUsageServerAuth), "codeSigning"},
		"an elliptic curve":   {curve, identity(t, curve, x509.ExtKeyUsageCodeSigning), "RSA"},
		"without certificate": {key, nil, "no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := netboot.NewSigner(c.key, c.certificates); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one about %q", err, c.want)
			}
		})
	}
}

func TestReadSigner(t *testing.T) {
	dir := t.TempDir()
	key := rsaKey(t)
	certificates := identity(t, key, x509.ExtKeyUsageCodeSigning)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	var chain bytes.Buffer
	for _, c := range certificates {
		pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	write(t, dir, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
	write(t, dir, "locked.pem", string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: pkcs8})))
	write(t, dir, "chain.pem", chain.String())
	if _, err := netboot.ReadSigner(filepath.Join(dir, "key.pem"), filepath.Join(dir, "chain.pem")); err != nil {
		t.Error(err)
	}
	for _, file := range []string{"locked.pem", "chain.pem", "missing.pem"} {
		if _, err := netboot.ReadSigner(filepath.Join(dir, file), filepath.Join(dir, "chain.pem")); err == nil {
			t.Errorf("%s is taken for a key", file)
		} else if strings.Contains(err.Error(), "BEGIN") {
			t.Errorf("the error shows the file: %v", err)
		}
	}
}

func TestHandler(t *testing.T) {
	dir, m := bundle(t, nil)
	write(t, dir, "secret", "nobody's")
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var log bytes.Buffer
	server := httptest.NewServer(netboot.Handler(root, m, slog.New(slog.NewTextHandler(&log, nil))))
	defer server.Close()
	get := func(method, path, ranges string) (int, string, http.Header) {
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if ranges != "" {
			r.Header.Set("Range", ranges)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(body), answer.Header
	}
	root_ := "/" + nameOf(m, netboot.Root)
	for _, c := range []struct {
		method, path, ranges string
		status               int
		body                 string
	}{
		{"GET", root_, "", 200, "070701"},
		{"GET", root_, "bytes=2-3", 206, "07"},
		{"GET", root_, "bytes=90-", 416, ""},
		{"HEAD", root_, "", 200, ""},
		{"POST", root_, "", 405, ""},
		{"GET", "/secret", "", 404, ""},
		{"GET", "/", "", 404, ""},
		{"GET", "/../" + filepath.Base(dir) + "/secret", "", 404, ""},
	} {
		status, body, header := get(c.method, c.path, c.ranges)
		if status != c.status || c.body != "" && body != c.body {
			t.Errorf("%s %s %s: %d %q, want %d %q", c.method, c.path, c.ranges, status, body, c.status, c.body)
		}
		if status == 200 && header.Get("ETag") == "" {
			t.Errorf("%s has no ETag", c.path)
		}
	}
	if !strings.Contains(log.String(), "path="+root_+" range=bytes=2-3 status=206 bytes=2") && !strings.Contains(log.String(), `range="bytes=2-3" status=206 bytes=2`) {
		t.Errorf("the log lacks the range request:\n%s", log.String())
	}
}

func TestRootArchive(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "root", "the root")
	write(t, dir, "hashes", "its hashes!")
	pack := func() []byte {
		root, err := os.Open(filepath.Join(dir, "root"))
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		hashes, err := os.Open(filepath.Join(dir, "hashes"))
		if err != nil {
			t.Fatal(err)
		}
		defer hashes.Close()
		var out bytes.Buffer
		if err := netboot.WriteRoot(&out, root, hashes); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	archive := pack()
	if !bytes.Equal(archive, pack()) {
		t.Error("the same parts give two archives")
	}
	found := map[string]string{}
	for r := cpio.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		content, _ := io.ReadAll(r)
		found[h.Name] = string(content) + h.Linkname
	}
	for name, want := range map[string]string{
		"strongroom/root.squashfs": "the root", "strongroom/root.verity": "its hashes!",
		"usr/lib/systemd/system/sysinit.target.wants/strongroom-netboot.service": "../strongroom-netboot.service",
	} {
		if found[name] != want {
			t.Errorf("%s holds %q, want %q; there is %v", name, found[name], want, found)
		}
	}
}

func FuzzCheckScript(f *testing.F) {
	m := netboot.Manifest{CommandLine: "ro", Signed: true, Files: []netboot.File{{Role: netboot.UnifiedKernel, Name: "a.efi"}, {Role: netboot.Kernel, Name: "k"}, {Role: netboot.Initrd, Name: "i"}, {Role: netboot.Root, Name: "r"}}}
	f.Add(netboot.ScriptOf(m))
	f.Add([]byte("#!ipxe\nkernel a.efi ro\nboot\n"))
	f.Fuzz(func(t *testing.T, script []byte) {
		if netboot.CheckScript(script, m) == nil && bytes.Count(script, []byte("imgverify ")) < 4 {
			t.Errorf("a script without four checks passes: %q", script)
		}
	})
}

func FuzzVerify(f *testing.F) {
	dir, _ := bundle(f, nil)
	text, err := os.ReadFile(filepath.Join(dir, netboot.ManifestName))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"schema":"strongroom.netboot/v1"}`))
	f.Fuzz(func(t *testing.T, manifest []byte) {
		if _, err := netboot.Verify(context.Background(), fstest.MapFS{netboot.ManifestName: {Data: manifest}}); err == nil {
			t.Error("a manifest of files that are not there passes")
		}
	})
}
