package launch_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/launch"
)

const manifest = `{"schema":"strongroom.image/v1","name":"strongroom-vault","version":"1.4.0","profile":"vault/cloud",
	"parameters":{"memory_lock":"off","cluster_port":"8201"},"root_hash":"abcd",
	"files":[{"name":"disk.raw","format":"raw","size":4,"virtual_size":1073741824,"sha256":"%s"}]}`

func TestOpenImage(t *testing.T) {
	dir := t.TempDir()
	sum := sha256.Sum256([]byte("disk"))
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	disk := write("disk.raw", "disk")
	files := []string{disk, write("manifest.json", fmt.Sprintf(manifest, hex.EncodeToString(sum[:])))}
	got, err := launch.OpenImage(t.Context(), files, "raw")
	want := launch.Image{Name: "strongroom-vault", Version: "1.4.0", Profile: "vault/cloud", RootHash: "abcd", Digest: hex.EncodeToString(sum[:]),
		File: disk, Size: 1 << 30, Server: "vault", ClusterPort: 8201}
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := launch.OpenImage(t.Context(), files, "vhd"); err == nil || !strings.Contains(err.Error(), `add "vhd" to formats`) {
		t.Errorf("a format that is not there: %v", err)
	}
	if _, err := launch.OpenImage(t.Context(), files[:1], "raw"); err == nil || !strings.Contains(err.Error(), "no manifest.json") {
		t.Errorf("no manifest: %v", err)
	}
	write("disk.raw", "disc")
	if _, err := launch.OpenImage(t.Context(), files, "raw"); err == nil || !strings.Contains(err.Error(), "its manifest says") {
		t.Errorf("another disk: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := launch.OpenImage(ctx, files, "raw"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(fmt.Sprintf(manifest, strings.Repeat("ab", 32))))
	f.Add([]byte(`{"schema":"strongroom.image/v1","files":[{"name":"../disk","format":"raw"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		image, err := launch.ParseManifest(text, "/images/out", "raw")
		if err == nil && (filepath.Dir(image.File) != "/images/out" || len(image.Digest) != 64 || image.Name == "" || image.Server == "") {
			t.Errorf("%q became %+v", text, image)
		}
	})
}

const nodeConfig = `
cluster { name = "prod" }
api_addr     = "https://{{ GetPrivateIP }}:8200"
cluster_addr = "https://{{ GetPrivateIP }}:8201"
join { srv = "_vault._tcp.example.net" }
firewall {
  api_clients    = ["10.0.0.0/8"]
  cluster_peers  = ["10.1.0.0/16"]
  monitoring     = []
  load_balancers = []
  egress         = []
}
`

func TestNodeConfig(t *testing.T) {
	ours := launch.Image{Server: "vault", ClusterPort: 8201}
	lock := strings.Replace(nodeConfig, "join {", "memory_lock = \"on\"\njoin {", 1)
	secret := "hvs." + strings.Repeat("A", 40)
	tests := map[string]struct {
		text  string
		image launch.Image
		says  string // nothing: it is taken
	}{
		"good":                       {nodeConfig, ours, ""},
		"another builder's image":    {nodeConfig, launch.Image{Unknown: true}, ""},
		"its memory may be locked":   {lock, launch.Image{Unknown: true}, ""},
		"ours is not":                {lock, ours, "memory_lock"},
		"another port":               {strings.ReplaceAll(nodeConfig, "{{ GetPrivateIP }}", "10.1.0.4"), launch.Image{Server: "vault", ClusterPort: 9201}, "cluster_addr"},
		"a token for a reference":    {nodeConfig + `seal "transit" { ` + "\n address = \"https://10.0.0.1:8200\"\n key_name = \"k\"\n token = \"" + secret + "\"\n}", ours, "a token of Vault"},
		"a password for a reference": {nodeConfig + `telemetry { basic_auth = { p = "$2y$10$abcdefghijklmnop" } }`, ours, "is not a reference"},
		"a key in a comment":         {"# -----BEGIN EC PRIVATE KEY-----\n" + nodeConfig, ours, "a private key"},
		"an access key":              {"# AKIAIOSFODNN7EXAMPLE\n" + nodeConfig, ours, "an access key of AWS"},
		"a script":                   {"#!/bin/sh\necho", ours, "would refuse it"},
		"cloud-init":                 {"#cloud-config\nruncmd: []", ours, "would refuse it"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "node.hcl")
			if err := os.WriteFile(path, []byte(tt.text), 0o644); err != nil {
				t.Fatal(err)
			}
			got, err := launch.NodeConfig(path, tt.image)
			if tt.says == "" {
				if err != nil || string(got) != tt.text {
					t.Errorf("got %q, %v", got, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
			if err != nil && (strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "$2y$")) {
				t.Errorf("the secret is repeated: %v", err)
			}
		})
	}
}

func TestUndo(t *testing.T) {
	var order []string
	var u launch.Undo
	made := func(what string, err error) {
		u.Made(what, "rm "+what, func(ctx context.Context) error {
			order = append(order, what)
			if ctx.Err() != nil {
				t.Error("the way back ends with the build")
			}
			return err
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cause := errors.New("the cause")
	made("first", nil)
	made("second", errors.New("no"))
	made("third", nil)
	err := u.Back(ctx, cause)
	want := "the cause\nthird was removed again\nsecond could not be removed (no): rm second\nfirst was removed again"
	if !errors.Is(err, cause) || err.Error() != want || !slices.Equal(order, []string{"third", "second", "first"}) {
		t.Errorf("got %v after %v", err, order)
	}
	made("kept", nil)
	u.Keep()
	made("later", nil)
	if err := u.Back(ctx, cause); err.Error() != "the cause\nlater was removed again\nkept stays; run the build again to finish, or remove it: rm kept" {
		t.Errorf("got %v", err)
	}
	if err := u.Back(ctx, cause); err.Error() != "the cause\nnothing was left behind" {
		t.Errorf("got %v", err)
	}
}

func TestWriteDryRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	var calls launch.Calls
	calls.Add(launch.Call{Service: "a", Action: "Ask", Input: map[string]any{"Name": "x", "Nothing": nil, "Empty": []string{}}})
	calls.Add(launch.Call{Service: "b", Action: "things/Make", Method: "PUT", URL: "https://b/things"})
	for range 2 { // the second replaces the first
		paths, err := launch.WriteDryRun(dir, calls.List(), map[string]any{"terraform": 1})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, p := range paths {
			names = append(names, filepath.Base(p))
		}
		if want := []string{"01-Ask.json", "calls.json", "main.tf.json"}; !slices.Equal(names, want) {
			t.Errorf("wrote %v", names)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, "01-Ask.json")); err != nil || string(text) != "{\n  \"Name\": \"x\"\n}\n" {
		t.Errorf("got %q, %v", text, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "mine.tf"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := launch.WriteDryRun(dir, nil, nil); err == nil || !strings.Contains(err.Error(), "mine.tf") {
		t.Errorf("a directory with something else: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "calls.json")); err != nil {
		t.Errorf("and something was removed: %v", err)
	}
}

func TestTerraformText(t *testing.T) {
	if got := launch.TerraformText("a ${b} %{c} $d"); got != "a $${b} %%{c} $d" {
		t.Errorf("got %q", got)
	}
}
