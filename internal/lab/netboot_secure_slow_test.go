//go:build boot && slow

package lab

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/netboot"
)

// TestBootNetbootSecureBoot starts over a network whose script has another command line, with a firmware that enforces Secure
// Boot. The signed unified kernel image keeps to its own; an unsigned one does not start.
func TestBootNetbootSecureBoot(t *testing.T) {
	t.Parallel()
	dir, m := bundleOf(t)
	pair, err := bakery()
	if err != nil {
		t.Fatal(err)
	}
	var uki string
	for _, f := range m.Files {
		if f.Role == netboot.UnifiedKernel {
			uki = f.Name
		}
	}
	script, err := os.ReadFile(filepath.Join(dir, netboot.ScriptName))
	if err != nil {
		t.Fatal(err)
	}
	weaker := strings.ReplaceAll(string(script), m.CommandLine, "console=ttyS0 init=/bin/sh root=/dev/vda systemd.unit=rescue.target")
	if weaker == string(script) {
		t.Fatal("the script has no command line")
	}
	read := func(path string) []byte {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	files := fstest.MapFS{"snponly.efi": {Data: signed(t, pair.image, read(filepath.Join(ipxeDir, "snponly.efi")))}}
	with := func(answers map[string][]byte) func(http.Handler) http.Handler {
		return func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if answer, ok := answers[r.URL.Path]; ok {
					http.ServeContent(w, r, r.URL.Path, time.Time{}, bytes.NewReader(answer))
					return
				}
				h.ServeHTTP(w, r)
			})
		}
	}
	list := pair.image.SignatureList()
	firmware := &SecureBoot{PK: list, KEK: list, DB: list}
	t.Run("signed", func(t *testing.T) {
		change := with(map[string][]byte{"/" + netboot.ScriptName: []byte(weaker)})
		node := start(t, Config{Network: netSegment(t, dir, m, files, change), SecureBoot: firmware, UUID: NewUUID(), Extra: []*Disk{emptyData(t)}})
		document := verdictOf(t, node)
		if document.Verdict != check.Pass || document.Host.RootHash != m.RootHash {
			t.Errorf("root hash %s, %v", document.Host.RootHash, &VerdictError{document})
		}
		requireOutcome(t, document, "firmware-secure-boot-on", control.Pass)
	})
	t.Run("unsigned", func(t *testing.T) {
		var asked atomic.Bool
		other := with(map[string][]byte{"/" + uki: unsigned(t, read(filepath.Join(dir, uki)))})
		change := func(h http.Handler) http.Handler {
			h = other(h)
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				h.ServeHTTP(w, r)
				if r.URL.Path == "/"+uki && r.Method == http.MethodGet {
					asked.Store(true)
				}
			})
		}
		node := start(t, Config{Network: netSegment(t, dir, m, files, change), SecureBoot: firmware, UUID: NewUUID(), Extra: []*Disk{emptyData(t)}})
		requireNoNode(t, node)
		if !asked.Load() {
			t.Error("nobody has loaded the unsigned program: it was not the firmware that refused")
		}
	})
}
