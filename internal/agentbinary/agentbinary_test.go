package agentbinary

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestUnpack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache", "hostcheck")
	agent := []byte("#!/bin/sh\n")
	path, err := unpack(agent, dir)
	if err != nil {
		t.Fatal(err)
	}
	check := func(why string) {
		t.Helper()
		again, err := unpack(agent, dir)
		if err != nil || again != path {
			t.Fatalf("%s: %s, %v", why, again, err)
		}
		content, err := os.ReadFile(path)
		if err != nil || string(content) != string(agent) {
			t.Errorf("%s: %q, %v", why, content, err)
		}
		if info, err := os.Lstat(path); err != nil || info.Mode() != 0o755 {
			t.Errorf("%s: mode %v, %v", why, info.Mode(), err)
		}
	}
	check("a second time")
	if err := os.WriteFile(path, []byte("something else"), 0o755); err != nil {
		t.Fatal(err)
	}
	check("a changed file")
	if err := os.Chmod(path, 0o777); err != nil {
		t.Fatal(err)
	}
	check("a mode that lets others write")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", path); err != nil {
		t.Fatal(err)
	}
	check("a link")
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left %v", left)
	}
	other, err := unpack([]byte("another version"), dir)
	if err != nil || other == path {
		t.Errorf("another agent lies at %s (%v)", other, err)
	}
}

func TestUnpackFails(t *testing.T) {
	if _, err := unpack(nil, t.TempDir()); !errors.Is(err, ErrNone) {
		t.Errorf("without an agent: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := unpack([]byte("x"), file); err == nil || !strings.Contains(err.Error(), "cannot unpack hostcheck") {
		t.Errorf("into a file: %v", err)
	}
}
