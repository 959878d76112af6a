//go:build bake

package plugin_test

import (
	"archive/zip"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	"go.yaml.in/yaml/v3"
)

// releaseConfig is what the tests read of .goreleaser.yml. goreleaser itself is run by TestGoreleaser (make test-slow).
type releaseConfig struct {
	ProjectName string   `yaml:"project_name"`
	Env         []string `yaml:"env"`
	Before      struct {
		Hooks []string `yaml:"hooks"`
	} `yaml:"before"`
	Builds []struct {
		Main    string   `yaml:"main"`
		Binary  string   `yaml:"binary"`
		Tags    []string `yaml:"tags"`
		Flags   []string `yaml:"flags"`
		Ldflags []string `yaml:"ldflags"`
		Goos    []string `yaml:"goos"`
		Goarch  []string `yaml:"goarch"`
	} `yaml:"builds"`
	Archives []struct {
		NameTemplate string   `yaml:"name_template"`
		Formats      []string `yaml:"formats"`
	} `yaml:"archives"`
	Checksum struct {
		NameTemplate string `yaml:"name_template"`
	} `yaml:"checksum"`
}

const releaseVersion = "9.8.7" // greater than any that a template asks for

// makeRelease does what .goreleaser.yml says with this checkout, and returns the directory of the assets.
func makeRelease(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../.goreleaser.yml")
	if err != nil {
		t.Fatal(err)
	}
	var c releaseConfig
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Before.Hooks) != 1 || len(c.Builds) != 1 || len(c.Archives) != 1 || c.Archives[0].Formats[0] != "zip" ||
		strings.Join(c.Builds[0].Goos, " ") != "linux" || strings.Join(c.Builds[0].Goarch, " ") != "amd64" {
		t.Fatal("the release makes more than this test looks at")
	}
	fields := map[string]any{"ProjectName": c.ProjectName, "Version": releaseVersion, "Os": "linux", "Arch": "amd64", "Env": map[string]string{}}
	for _, e := range c.Env {
		name, value, _ := strings.Cut(e, "=")
		fields["Env"].(map[string]string)[name] = value
	}
	expand := func(s string) string {
		t.Helper()
		var b strings.Builder
		if err := template.Must(template.New("").Option("missingkey=error").Parse(s)).Execute(&b, fields); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = "../.."
		cmd.Env = append(os.Environ(), c.Env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
	}
	dist := t.TempDir()

	// The hook writes into the checkout, which a test does not: the file goes elsewhere, and an overlay of the build brings it in.
	const inside = "internal/agentbinary/hostcheck"
	agent := filepath.Join(t.TempDir(), "hostcheck")
	hook := expand(c.Before.Hooks[0])
	if !strings.Contains(hook, "-o "+inside+" ") {
		t.Fatalf("the hook does not make %s: %s", inside, hook)
	}
	run("sh", "-c", strings.Replace(hook, inside, agent, 1))
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, inside): agent}})
	if err != nil {
		t.Fatal(err)
	}
	overlayFile := filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	build := c.Builds[0]
	plugin := filepath.Join(t.TempDir(), expand(build.Binary))
	args := append([]string{"go", "build", "-overlay", overlayFile, "-o", plugin, "-tags", strings.Join(build.Tags, ","), "-ldflags", expand(strings.Join(build.Ldflags, " "))}, build.Flags...)
	run(append(args, build.Main)...)

	archive := expand(c.Archives[0].NameTemplate) + ".zip"
	var packed bytes.Buffer
	z := zip.NewWriter(&packed)
	header := &zip.FileHeader{Name: filepath.Base(plugin), Method: zip.Deflate}
	header.SetMode(0o755)
	w, err := z.CreateHeader(header)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(plugin)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	sums := fmt.Sprintf("%x  %s\n", sha256.Sum256(packed.Bytes()), archive)
	for name, content := range map[string]string{archive: packed.String(), expand(c.Checksum.NameTemplate): sums} {
		if err := os.WriteFile(filepath.Join(dist, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dist
}

// forge stands in for GitHub: its API and the downloads of one release of one repository. Packer reaches it through a
// proxy, and believes it by an authority of its own; both are variables of the environment that it is given.
func forge(t *testing.T, repository, tag, assets string) (environment []string) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("api.github.com/repos/"+repository+"/git/matching-refs/tags", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `[{"ref":"refs/tags/%s"}]`, tag)
	})
	mux.Handle("github.com/"+repository+"/releases/download/"+tag+"/", http.StripPrefix("/"+repository+"/releases/download/"+tag, http.FileServer(http.Dir(assets))))
	server := httptest.NewUnstartedServer(mux)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	certificate := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a forge"}, DNSNames: []string{"github.com", "api.github.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, certificate, certificate, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	server.StartTLS()
	t.Cleanup(server.Close)
	authority := filepath.Join(t.TempDir(), "forge.pem")
	if err := os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}

	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != "github.com:443" && r.Host != "api.github.com:443" {
			http.Error(w, "no way out", http.StatusForbidden)
			return
		}
		there, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer there.Close()
		here, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer here.Close()
		if _, err := io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
			return
		}
		go func() { io.Copy(there, here); there.Close() }()
		io.Copy(here, there)
	}))
	t.Cleanup(proxy.Close)
	return []string{"HTTPS_PROXY=" + proxy.URL, "https_proxy=" + proxy.URL, "NO_PROXY=", "no_proxy=", "SSL_CERT_FILE=" + authority, "PACKER_GITHUB_API_TOKEN="}
}

// From a release to an image, as a user does it: packer init, packer build; nothing names hostcheck.
func TestPackerInit(t *testing.T) {
	w := setUp(t)
	dist := makeRelease(t)
	if got, want := entries(t, dist), "packer-plugin-strongroom_v9.8.7_SHA256SUMS packer-plugin-strongroom_v9.8.7_x5.0_linux_amd64.zip"; got != want {
		t.Errorf("the release has %q, want %q", got, want)
	}
	if again := makeRelease(t); digest(t, filepath.Join(dist, "packer-plugin-strongroom_v9.8.7_SHA256SUMS")) != digest(t, filepath.Join(again, "packer-plugin-strongroom_v9.8.7_SHA256SUMS")) {
		t.Error("two releases of the same source differ")
	}
	online := forge(t, "strongroom/packer-plugin-strongroom", "v9.8.7", dist)
	for name, g := range generations {
		if name == "1.16 gob" {
			continue // the wire is no matter of packer init
		}
		t.Run(name, func(t *testing.T) {
			w := w.at(t, g)
			w.pluginPath = t.TempDir()
			dir := w.template(t, w.vault(), "")
			file := filepath.Join(dir, "test.pkr.hcl")
			text := strings.Replace(readFile(t, file), fmt.Sprintf("hostcheck        = %q\n", w.hostcheck), "", 1) + `
packer {
  required_plugins {
    strongroom = {
      source  = "github.com/strongroom/strongroom"
      version = ">= 9.8.0"
    }
  }
}
`
			if strings.Contains(text, "hostcheck  ") {
				t.Fatal("the template names hostcheck")
			}
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			initialize := w.command(t, dir, "init", ".")
			initialize.Env = append(initialize.Env, online...)
			if _, code := run(t, initialize); code != 0 {
				t.Fatalf("packer init: exit status %d", code)
			}
			installed := filepath.Join(w.pluginPath, "github.com/strongroom/strongroom")
			if got, want := entries(t, installed), "packer-plugin-strongroom_v9.8.7_x5.0_linux_amd64 packer-plugin-strongroom_v9.8.7_x5.0_linux_amd64_SHA256SUM"; got != want {
				t.Errorf("packer init installed %q, want %q", got, want)
			}
			build := w.command(t, dir, "build", ".")
			build.Env = append(build.Env, "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
			if _, code := run(t, build); code != 0 {
				t.Errorf("packer build: exit status %d", code)
			}
		})
	}
}
