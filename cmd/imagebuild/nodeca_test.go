package main

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/node/nodetest"
)

func TestNodeConfigCA(t *testing.T) {
	ca := nodetest.NewCA(t, nodetest.Today())
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, ca.PEM, 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, stderr := cli("overlay", "--node-config-ca", file, "--output", "-")
	if code != 0 {
		t.Fatal(stderr)
	}
	if got := fileIn(t, out, "usr/lib/strongroom/node-ca.pem"); !strings.Contains(got, string(ca.PEM)) {
		t.Errorf("the overlay's authorities are %q", got)
	}
	if code, out, _ := cli("controls", "--node-config-ca", file); code != 0 || !strings.Contains(out, "(certificates: 1)") || strings.Contains(out, "BEGIN") {
		t.Errorf("exit %d; the table does not say how many authorities there are:\n%s", code, out)
	}
	if code, _, stderr := cli("overlay", "--node-config-ca", "/nowhere/ca.pem"); code != 1 || !strings.Contains(stderr, "cannot read authorities") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func fileIn(t *testing.T, archive, name string) string {
	t.Helper()
	for r := tar.NewReader(strings.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			t.Fatalf("%s is not in the tar", name)
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.TrimPrefix(h.Name, "./") == name {
			content, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			return string(content)
		}
	}
}
