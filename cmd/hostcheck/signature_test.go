package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/hardening"
	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// signedTree is a root tree with the files of a signed baseline, by path.
func signedTree(t *testing.T) map[string][]byte {
	t.Helper()
	catalogue, err := hardening.Load()
	if err != nil {
		t.Fatal(err)
	}
	b, err := catalogue.Compile(control.Profile{Server: "vault", Platform: "vm", Layout: "sealed", Distribution: baseline.Distributions("sealed")[0]})
	if err != nil {
		t.Fatal(err)
	}
	text, err := b.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var tree overlay.Tree
	if err := tree.Add("baseline", overlay.File(baseline.Path, string(text))); err != nil {
		t.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := baseline.Sign(&tree, key); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, f := range tree.Fragments() {
		files[f.Path] = f.Content
	}
	return files
}

// A baseline that is not the signed one is no verdict's measure: the gate stays closed, and the reason is told.
func TestForgedBaseline(t *testing.T) {
	for name, tt := range map[string]struct {
		forge func(files map[string][]byte)
		code  int // 0: it is taken
		says  string
	}{
		"signed":     {func(map[string][]byte) {}, 0, ""},
		"not signed": {func(f map[string][]byte) { delete(f, baseline.SignaturePath); delete(f, baseline.KeyPath) }, 0, ""},
		"edited": {func(f map[string][]byte) {
			f[baseline.Path] = bytes.Replace(f[baseline.Path], []byte(`"severity": "must"`), []byte(`"severity": "should"`), 1)
		}, 1, "the baseline is not the one that was signed when the image was made: its signature in " + baseline.SignaturePath + " does not hold"},
		"no signature":  {func(f map[string][]byte) { delete(f, baseline.SignaturePath) }, 1, baseline.SignaturePath + " was taken away"},
		"no key":        {func(f map[string][]byte) { delete(f, baseline.KeyPath) }, 1, baseline.KeyPath + " was taken away"},
		"another key":   {func(f map[string][]byte) { f[baseline.KeyPath] = signedTree(t)[baseline.KeyPath] }, 1, "does not hold by the key"},
		"broken key":    {func(f map[string][]byte) { f[baseline.KeyPath] = []byte("key") }, 2, "there is no public key"},
		"not in base64": {func(f map[string][]byte) { f[baseline.SignaturePath] = []byte("!") }, 2, "is damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			files := signedTree(t)
			tt.forge(files)
			root := t.TempDir()
			for path, content := range files {
				path = filepath.Join(root, path)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, content, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			h, err := host.Tree(root)
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			b, _, err := loadBaseline(h, "")
			if tt.code == 0 {
				if err != nil || len(b.Controls) == 0 {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.says) || exitOf(err) != tt.code {
				t.Errorf("%v with exit status %d, want %q with %d", err, exitOf(err), tt.says, tt.code)
			}
		})
	}
}

// Signatures hold in recordings, and what older programs have recorded is judged as before.
func TestSignatureInRecording(t *testing.T) {
	root := t.TempDir()
	for path, content := range signedTree(t) {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h, err := host.Tree(root)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for name, ask := range map[string]func(host.Host) error{
		"today's":  func(h host.Host) error { _, _, err := loadBaseline(h, ""); return err },
		"an older": func(h host.Host) error { _, err := h.ReadFile(baseline.Path); return err },
	} {
		recorder := host.NewRecorder(h)
		if err := ask(recorder); err != nil {
			t.Fatal(err)
		}
		var recording bytes.Buffer
		if _, err := recorder.WriteTo(&recording); err != nil {
			t.Fatal(err)
		}
		replay, err := host.ReplayBytes(recording.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := loadBaseline(replay, ""); err != nil {
			t.Errorf("%s recording: %v", name, err)
		}
		forged := bytes.Replace(recording.Bytes(), []byte(`severity\": \"must`), []byte(`severity\": \"shou`), 1)
		if bytes.Equal(forged, recording.Bytes()) {
			t.Fatal("nothing was forged")
		}
		replay, err = host.ReplayBytes(forged)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := loadBaseline(replay, ""); name == "today's" && exitOf(err) != exitFail {
			t.Errorf("a forged recording: %v", err)
		}
	}
}
