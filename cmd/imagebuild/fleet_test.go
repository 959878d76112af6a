package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFleetFromFolder(t *testing.T) {
	dir := t.TempDir()
	text, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "n.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, stderr := cli("fleet", dir)
	if code != 0 || stderr != "" || !strings.HasPrefix(out, "<!DOCTYPE html>\n") || !strings.Contains(out, "memory-swap-off") {
		t.Fatalf("exit %d: %s%.200s", code, stderr, out)
	}
	file := filepath.Join(t.TempDir(), "fleet.html")
	if code, none, stderr := cli("fleet", "--output", file, dir); code != 0 || none != "" {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	if written, err := os.ReadFile(file); err != nil || string(written) != out {
		t.Errorf("the file is not what goes to standard output: %v", err)
	}
}

func TestFleetRefuses(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "client.yml")
	if err := os.WriteFile(config, []byte("passwd: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"fleet", 64, "name a Prometheus"},
		{"fleet --prometheus http://x y", 64, "one or the other"},
		{"fleet a b", 64, "want one folder"},
		{"fleet --job x --window 3s a", 64, "--window: 3s is less than a minute"},
		{"fleet --job x a", 64, "--job says something about --prometheus"},
		{"fleet " + dir, 1, "no report"},
		{"fleet --prometheus ftp://x", 1, "no URL of a Prometheus"},
		{"fleet --prometheus http://u:swordfish@127.0.0.1:1", 1, "--http-config"},
		{"fleet --prometheus http://127.0.0.1:1", 1, "cannot ask Prometheus"},
		{"fleet --prometheus http://127.0.0.1:1 --http-config " + config, 1, "field passwd not found"},
		{"fleet --cluster none " + filepath.Dir(sample) + "/none", 1, "none"},
	} {
		code, out, stderr := cli(strings.Fields(c.args)...)
		if code != c.code || out != "" || !strings.Contains(stderr, c.says) || strings.Contains(stderr, "swordfish") {
			t.Errorf("%s: exit %d, %q", c.args, code, stderr)
		}
	}
}
