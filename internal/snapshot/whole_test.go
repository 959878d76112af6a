package snapshot

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/strongroom/strongroom/internal/cluster"
)

// What lies in a sink can be judged with a recipient's key, without one by its manifest, and with neither not at all.
func TestCheckFile(t *testing.T) {
	k, sink := key(t), File{t.TempDir()}
	r, err := taker(t, &server{archive: usual().bytes(t), standing: []cluster.Standing{leads()}}, k, sink).Run(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(sink.Directory, r.Sinks[0].Archive)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	with := []age.Identity{k}
	if got, err := CheckFile(path, with); err != nil || got.Content == nil || got.Manifest == nil || got.Content.KeyID != "transit/v1" {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := CheckFile(path, nil); err != nil || got.Content != nil || got.Manifest == nil {
		t.Errorf("without an identity: %+v, %v", got, err)
	}
	if _, err := CheckFile(path, []age.Identity{key(t)}); err == nil || !strings.Contains(err.Error(), "cannot decrypt") {
		t.Errorf("a stranger's identity: %v", err)
	}
	change := func(content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string][]byte{"cut off": whole[:len(whole)-20], "one more byte": append(whole[:len(whole):len(whole)], 0)} {
		change(content)
		for _, identities := range [][]age.Identity{with, nil} {
			if _, err := CheckFile(path, identities); err == nil {
				t.Errorf("%s, with %d identities: it is taken for whole", name, len(identities))
			}
		}
	}
	change(whole)
	if err := os.Remove(path + manifestSuffix); err != nil {
		t.Fatal(err)
	}
	if _, err := CheckFile(path, nil); err == nil || !strings.Contains(err.Error(), "hint: --identity") {
		t.Errorf("with neither: %v", err)
	}
	if got, err := CheckFile(path, with); err != nil || got.Content == nil || got.Manifest != nil {
		t.Errorf("without a manifest: %+v, %v", got, err)
	}
	// As the server gave it.
	change(usual().bytes(t))
	if got, err := CheckFile(path, nil); err != nil || got.Content == nil {
		t.Errorf("not encrypted: %+v, %v", got, err)
	}
}

// No error repeats what is in a file of identities.
func TestReadIdentities(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key.txt")
	if err := os.WriteFile(path, []byte("AGE-SECRET-KEY-1NOTAKEY\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadIdentities(path); err == nil || strings.Contains(err.Error(), "NOTAKEY") {
		t.Errorf("got %v", err)
	}
	k := key(t)
	if err := os.WriteFile(path, []byte(k.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadIdentities(path); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestRehearsal(t *testing.T) {
	sink := File{t.TempDir()}
	tk := taker(t, &server{archive: usual().bytes(t), standing: []cluster.Standing{leads()}}, key(t), sink)
	r, err := tk.Run(t.Context(), false)
	if err != nil || !r.Sinks[0].Restored.IsZero() {
		t.Fatalf("%+v, %v", r, err)
	}
	archive, at := r.Sinks[0].Archive, tk.Now().UTC()
	tell := func(word Rehearsal) SinkResult {
		word.Schema, word.Archive = RehearsalSchema, archive
		if err := LeaveRehearsal(t.Context(), sink, word); err != nil {
			t.Fatal(err)
		}
		r, err := tk.Run(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		return r.Sinks[0]
	}
	if got := tell(Rehearsal{At: at}); !got.Restored.Equal(at) || got.RestoreError != "" {
		t.Errorf("%+v", got)
	}
	if got := tell(Rehearsal{At: at, Error: "the seal has no such key"}); !got.Restored.IsZero() || got.RestoreError == "" {
		t.Errorf("%+v", got)
	}
	// It goes with its archive.
	tk.Now = func() time.Time { return at.Add(time.Hour) }
	tk.Retention = Retention{Least: 1, Most: 1}
	if _, err := tk.Run(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if left, err := sink.List(t.Context()); err != nil || len(left) != 2 {
		t.Errorf("%v, %v", left, err)
	}
}

func FuzzParseRehearsal(f *testing.F) {
	f.Add([]byte(`{"schema":"strongroom.snapshot-restore/v1","archive":"a","at":"2026-11-22T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := ParseRehearsal(b, "a"); err == nil && (r.At.IsZero() || r.Archive != "a") {
			t.Errorf("%+v", r)
		}
	})
}
