package baseline_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"testing"

	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/overlay"
)

func FuzzVerifySignature(f *testing.F) {
	var tree overlay.Tree
	if err := tree.Add("baseline", overlay.File(baseline.Path, "{}\n")); err != nil {
		f.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	if err := baseline.Sign(&tree, key); err != nil {
		f.Fatal(err)
	}
	files := map[string][]byte{}
	for _, fragment := range tree.Fragments() {
		files[fragment.Path] = fragment.Content
	}
	if _, err := baseline.VerifySignature([]byte("{}\n"), files[baseline.SignaturePath], files[baseline.KeyPath]); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("{}\n"), files[baseline.SignaturePath])
	f.Fuzz(func(t *testing.T, content, signature []byte) {
		if _, err := baseline.VerifySignature(content, signature, files[baseline.KeyPath]); err == nil && string(content) != "{}\n" {
			t.Error("a signature of another text holds")
		}
	})
}
