package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The program that `lab up` starts again is the test program.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "lab" && os.Args[2] == "supervise" {
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// A lab without an image ends before anything runs, says why, and leaves nothing.
func TestLabUpWithoutImage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lab")
	code, stdout, stderr := cli("lab", "up", "--state", dir, "--image", "/nowhere")
	if code != 1 || stdout != "" || !strings.Contains(stderr, "no image at /nowhere\nhint: bake it with `make image`") {
		t.Errorf("exit status %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is left behind: %v", dir, err)
	}
}
