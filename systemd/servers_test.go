package systemd_test

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/systemd"
)

// named gives the files of one server with its names taken out.
func named(t *testing.T, p server.Product, words *strings.Replacer) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(systemd.Files, p.ID, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(systemd.Files, path)
		files[words.Replace(path)] = words.Replace(string(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Both servers have the same units but for their names: what is learnt about one is not forgotten for the other.
func TestServersHaveTheSameUnits(t *testing.T) {
	vault := named(t, server.Products[0], strings.NewReplacer("https://developer.hashicorp.com/vault/docs", "DOCS", "HashiCorp Vault", "LONG",
		"/usr/bin/vault", "BINARY", "vault", "server", "Vault", "Server"))
	openbao := named(t, server.Products[1], strings.NewReplacer("https://openbao.org/docs", "DOCS", "Description=OpenBao", "Description=LONG",
		"/usr/bin/bao", "BINARY", "openbao", "server", "OpenBao", "Server"))
	if diff := cmp.Diff(vault, openbao); diff != "" {
		t.Errorf("vault, openbao:\n%s", diff)
	}
	if len(vault) < 6 {
		t.Errorf("only %d files", len(vault))
	}
}

// An image carries the units of its own server: nothing that starts, creates or names the other one's.
func TestOverlayHasOneServer(t *testing.T) {
	for _, p := range []control.Profile{checktest.Profile(), checktest.OpenBaoProfile()} {
		t.Run(p.Server, func(t *testing.T) {
			r := newRootOf(t, p)
			found := false
			for _, f := range r.fragments {
				for _, other := range server.Products {
					mentioned := strings.Contains(f.Path, other.Unit) || strings.Contains(string(f.Content), other.Run+"/") || strings.Contains(string(f.Content), other.Data)
					switch {
					case other.ID == p.Server:
						found = found || f.Path == "/usr/lib/systemd/system/multi-user.target.wants/"+other.Unit
					case mentioned:
						t.Errorf("%s is about %s", f.Path, other.Name)
					}
				}
			}
			if !found {
				t.Error("nothing starts the server")
			}
		})
	}
}
