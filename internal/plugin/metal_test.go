package plugin

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/strongroom/strongroom/hardening"
	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/metal"
	"github.com/strongroom/strongroom/internal/signature"
)

func configureMetal(t *testing.T, changes map[string]any) (*Metal, error) {
	t.Helper()
	raw := map[string]any{
		"image_version": "1.4.0", "vault": map[string]any{"binary": thisProgram(t)}, "hostcheck": thisProgram(t), "distribution": "debian/trixie", "profile": "vault/metal",
		"url": "https://srv.example/node", "disk": "/dev/disk/by-id/ata-DISK", "packer_build_name": "vault", "output_directory": filepath.Join(t.TempDir(), "out"),
	}
	maps.Copy(raw, changes)
	p := &Metal{Catalogue: hardening.Load}
	return p, p.Configure(raw)
}

// thisProgram is a file that looks like one: this test itself.
func thisProgram(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return self
}

func TestMetalReportsEveryMistake(t *testing.T) {
	_, err := configureMetal(t, map[string]any{
		"image_version": "1 4", "url": "http://srv.example", "disk": "/dev/sda", "proxy": "x", "profile": "vault/toaster", "parameters": map[string]string{"colour": "red"},
		"network": map[string]any{"address": "x", "gateway": "y", "nameservers": []string{}}, "vault": map[string]any{"sha256": "zz"},
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, attribute := range []string{"image_version", "url", "disk", "proxy", "profile", "parameters", "network.address", "network.gateway", "network.nameservers", "vault.binary", "vault.sha256"} {
		if !strings.Contains(err.Error(), attribute+": ") {
			t.Errorf("%s is not reported: %v", attribute, err)
		}
	}
	if _, err := configureMetal(t, map[string]any{"distribution": "debian/sid"}); err == nil || !strings.Contains(err.Error(), "debian/bookworm") {
		t.Errorf("an unknown distribution: %v", err)
	}
}

// What goes in stays, and what comes out is a directory that passes the strict checks, the same each time.
func TestMetalArtifact(t *testing.T) {
	for distribution, first := range map[string]string{"debian/trixie": "preseed.cfg", "ubuntu/noble": "user-data", "rhel/9": "ks.cfg", "rhel/10": "ks.cfg"} {
		changes := map[string]any{"distribution": distribution}
		if strings.HasPrefix(distribution, "rhel/") {
			changes["source"] = "https://mirror.example/9/BaseOS/x86_64/os"
		}
		p, err := configureMetal(t, changes)
		if err != nil {
			t.Fatal(err)
		}
		ui := &packersdk.BasicUi{Reader: strings.NewReader(""), Writer: &bytes.Buffer{}, ErrorWriter: &bytes.Buffer{}}
		source := &packersdk.MockArtifact{StateValues: map[string]any{"generated_data": map[any]any{"ImageVersion": "1.4.0"}}}
		made, keep, force, err := p.PostProcess(context.Background(), ui, source)
		if err != nil || !keep || !force {
			t.Fatalf("%s: %v, keep %v, force %v", distribution, err, keep, force)
		}
		if made.BuilderId() != MetalID || filepath.Base(made.Files()[0]) != first || !strings.HasPrefix(made.Id(), "sha256:") {
			t.Errorf("%s: %s %s %q", distribution, made.BuilderId(), made.Id(), made.Files())
		}
		names := map[string]bool{}
		for _, file := range made.Files() {
			if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() || names[filepath.Base(file)] {
				t.Errorf("%s: %v", file, err)
			}
			names[filepath.Base(file)] = true
		}
		answers, err := os.ReadFile(made.Files()[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := metal.Check(first, answers); err != nil {
			t.Errorf("%s: %v", distribution, err)
		}
		if data, ok := made.State("generated_data").(map[string]any); !ok || data["ImageVersion"] != "1.4.0" {
			t.Errorf("%s: generated_data is %v", distribution, made.State("generated_data"))
		}
		again, _, _, err := p.PostProcess(context.Background(), ui, source)
		if err != nil || again.Id() != made.Id() {
			t.Errorf("%s: a second run gives %v, %v", distribution, again.Id(), err)
		}
		if err := made.Destroy(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Dir(made.Files()[0])); err == nil {
			t.Errorf("%s: the directory is left", distribution)
		}
	}
}

// With a key the baseline that is installed is signed by it.
func TestMetalSignsTheBaseline(t *testing.T) {
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := configureMetal(t, map[string]any{"signing": map[string]any{"key": file}})
	if err != nil {
		t.Fatal(err)
	}
	ui := &packersdk.BasicUi{Reader: strings.NewReader(""), Writer: &bytes.Buffer{}, ErrorWriter: &bytes.Buffer{}}
	made, _, _, err := p.PostProcess(t.Context(), ui, &packersdk.MockArtifact{})
	if err != nil {
		t.Fatal(err)
	}
	archive, err := os.ReadFile(filepath.Join(filepath.Dir(made.Files()[0]), metal.OverlayName))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files["/"+strings.Trim(strings.TrimPrefix(h.Name, "./"), "/")] = content
	}
	want, err := signature.Fingerprint(public)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := baseline.VerifySignature(files[baseline.Path], files[baseline.SignaturePath], files[baseline.KeyPath]); err != nil || got != want {
		t.Errorf("the baseline is signed by %q (%v), want %s", got, err, want)
	}
}
