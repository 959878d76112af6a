//go:build boot && slow

package lab

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/overlay"
	"github.com/strongroom/strongroom/internal/signature"
)

// TestBootWithForgedBaseline boots images that are the plain one, whose baseline is signed, but for a baseline or a signature that somebody
// else has made. Whoever can bake an image can do that, and dm-verity then protects the forgery: the gate stays closed, and the console says why.
func TestBootWithForgedBaseline(t *testing.T) {
	sign, err := bakery()
	if err != nil {
		t.Fatal(err)
	}
	fingerprint, err := signature.Fingerprint(sign.baseline.Public())
	if err != nil {
		t.Fatal(err)
	}
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var content []byte // of the baseline, which comes before its signature
	for name, forge := range map[string]func(overlay.Fragment) overlay.Fragment{
		"edited": func(f overlay.Fragment) overlay.Fragment {
			if f.Path == baseline.Path {
				f.Content = bytes.Replace(f.Content, []byte(`"severity": "must"`), []byte(`"severity": "should"`), 1)
			}
			return f
		},
		"signed-by-another": func(f overlay.Fragment) overlay.Fragment {
			switch f.Path {
			case baseline.Path:
				content = f.Content
			case baseline.SignaturePath:
				var other overlay.Tree
				if err := other.Add("the test", overlay.File(baseline.Path, string(content))); err != nil {
					t.Fatal(err)
				}
				if err := baseline.Sign(&other, stranger); err != nil {
					t.Fatal(err)
				}
				for _, made := range other.Fragments() {
					if made.Path == f.Path {
						return made
					}
				}
			}
			return f
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := bake(t.Context(), recipe{name: "forged-" + name, forge: forge}); err != nil {
				t.Fatal(err)
			}
			node := start(t, Config{Disk: newDisk(t, filepath.Join(workDir, "forged-"+name, "disk.raw")), UUID: NewUUID()})
			reason := baseline.ErrForged.Error() + ": its signature in " + baseline.SignaturePath + " does not hold by the key " + fingerprint
			for deadline := time.Now().Add(bootTimeout); ; time.Sleep(pollInterval) {
				console, err := os.ReadFile(node.ConsoleLog())
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(string(console), reason) && strings.Contains(string(console), "replace the node") {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("the console does not say %q", reason)
				}
			}
			select {
			case <-time.After(patienceAfter):
			case <-node.Done():
				t.Fatal("the node went down")
			}
			ports, err := node.Scan(t.Context(), []int{PortAPI, PortRaft})
			if err != nil {
				t.Fatal(err)
			}
			if len(ports.Open) > 0 {
				t.Errorf("open ports %v: the server runs on a node whose baseline is forged", ports.Open)
			}
		})
	}
}
