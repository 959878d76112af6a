//go:build slow

package rehearse

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/snapshot"
)

// TestRealVaultRestored: a snapshot of a real server is restored in a real one, which then serves what was in it.
func TestRealVaultRestored(t *testing.T) { restored(t, "vault") }

func TestRealOpenBaoRestored(t *testing.T) { restored(t, "openbao") }

func restored(t *testing.T, product string) {
	program(t, product)
	block := transit(t)
	seal := block("unseal")
	b := backedUp(t, product, seal)

	t.Run("restored", func(t *testing.T) {
		o := b.options(t, seal)
		r, err := Run(t.Context(), o)
		if err != nil || r.Error != "" || r.ClusterID != b.cluster || r.Canary != "kv/canary" || r.Version == "" || r.KeyID == "" || len(r.SHA256) != 64 {
			t.Fatalf("%+v, %v", r, err)
		}
		leftNothing(t, o)
		sink := snapshot.File{Directory: filepath.Dir(b.path)}
		if err := snapshot.LeaveRehearsal(t.Context(), sink, r); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(b.path + ".restored.json")
		if err != nil {
			t.Fatal(err)
		}
		if read, err := snapshot.ParseRehearsal(text, r.Archive); err != nil || read != r {
			t.Errorf("%+v, %v", read, err)
		}
		if newest, err := snapshot.Newest(sink.Directory); err != nil || newest != b.path {
			t.Errorf("the newest is %s, %v", newest, err)
		}
	})
	t.Run("another product", func(t *testing.T) {
		o := b.options(t, seal)
		o.Program = program(t, map[string]string{"vault": "openbao", "openbao": "vault"}[product])
		if r, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "the snapshot is one of "+product) || !r.At.IsZero() {
			t.Errorf("%+v, %v", r, err)
		}
	})
	t.Run("the canary is gone", func(t *testing.T) {
		o := b.options(t, seal)
		o.Canary = "kv/none"
		if r, err := Run(t.Context(), o); err == nil || !strings.Contains(r.Error, "the canary kv/none") {
			t.Errorf("%+v, %v", r, err)
		}
		leftNothing(t, o)
	})
}

// TestRealVaultShamir: people unseal what was restored, with their keys and no others.
func TestRealVaultShamir(t *testing.T) { shamir(t, "vault") }

func TestRealOpenBaoShamir(t *testing.T) { shamir(t, "openbao") }

func shamir(t *testing.T, product string) {
	b := backedUp(t, product, "")
	other := backedUp(t, product, "")
	for name, c := range map[string]struct {
		keys []node.Secret
		want string // empty: it is restored
		left bool   // a word about the archive
	}{
		"the keys":        {b.keys[1:], "", true},
		"no keys":         {nil, "--unseal-keys", false},
		"too few":         {b.keys[:1], "it needs 2 unseal keys, and there are 1", true},
		"those of others": {other.keys[:2], "the unseal keys are not those of the snapshot", true},
	} {
		t.Run(name, func(t *testing.T) {
			o := b.options(t, "")
			o.UnsealKeys = c.keys
			r, err := Run(t.Context(), o)
			if c.want == "" && (err != nil || r.ClusterID != b.cluster || r.Canary == "") || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) || r.At.IsZero() == c.left {
				t.Errorf("%+v, %v", r, err)
			}
			leftNothing(t, o)
		})
	}
}

// TestRealVaultOtherKey: with another key of the same kind of seal nothing can be opened.
func TestRealVaultOtherKey(t *testing.T) {
	block := transit(t)
	b := backedUp(t, "vault", block("unseal"))
	o := b.options(t, block("another"))
	o.Within = 20 * time.Second
	r, err := Run(t.Context(), o)
	if err == nil || r.Error == "" || r.ClusterID != "" {
		t.Errorf("%+v, %v", r, err)
	}
	t.Log(err)
	leftNothing(t, o)
}
