//go:build bake && slow

package plugin_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The templates with builders of other plugins, with those plugins. Ours says that it speaks protobuf; with one beside it that
// does not, Packer talks gob to all.
func TestForeignTemplates(t *testing.T) {
	w := setUp(t)
	installed := filepath.Join(t.TempDir(), "plugins")
	if err := os.CopyFS(installed, os.DirFS(w.pluginPath)); err != nil {
		t.Fatal(err)
	}
	w.pluginPath = installed
	tested := 0
	for _, s := range templates(t) {
		if len(s.plugins) == 0 || slices.ContainsFunc(s.plugins, func(p string) bool { return foreign[p] == "" }) {
			continue
		}
		tested++
		t.Run(s.file, func(t *testing.T) {
			w.installForeign(t, s.plugins...)
			cmd := w.command(t, "../../packer", append(append([]string{"validate"}, s.vars...), s.file)...)
			if out, code := run(t, cmd); code != 0 {
				t.Errorf("packer validate: %s", out)
			}
		})
	}
	if tested == 0 {
		t.Error("no template was tested")
	}
}
