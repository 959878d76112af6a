package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sample is a report in which every outcome occurs.
const sample = "../../internal/report/testdata/fail.json"

func TestReportConverts(t *testing.T) {
	for format, begins := range map[string]string{
		"text": "needs attention\n", "json": "{\n \"schema\"", "junit": "<?xml ", "sarif": "{\n \"$schema\"", "oscal": "{\n \"assessment-results\"", "html": "<!DOCTYPE html>\n",
	} {
		t.Run(format, func(t *testing.T) {
			code, out, stderr := cli("report", "--format", format, sample)
			if code != 0 || stderr != "" {
				t.Fatalf("exit %d: %s", code, stderr)
			}
			if !strings.HasPrefix(out, begins) || !strings.Contains(out, "memory-swap-off") {
				t.Errorf("output begins %.60q, want %q", out, begins)
			}
			file := filepath.Join(t.TempDir(), "report")
			if code, none, stderr := cli("report", "--format", format, "--output", file, sample); code != 0 || none != "" {
				t.Fatalf("exit %d, output %q: %s", code, none, stderr)
			}
			if written, err := os.ReadFile(file); err != nil || string(written) != out {
				t.Errorf("the file is not what goes to standard output: %v", err)
			}
		})
	}
}

// A report that cannot be written leaves the old one, and nothing beside it.
func TestReportIsWrittenWhole(t *testing.T) {
	dir := t.TempDir()
	file, undated := filepath.Join(dir, "oscal.json"), filepath.Join(t.TempDir(), "undated.json")
	for name, content := range map[string]string{file: "old", undated: `{"schema": "strongroom.report/v1", "verdict": "pass"}`} {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	code, _, stderr := cli("report", "--format", "oscal", "--output", file, undated)
	if code != 1 || !strings.Contains(stderr, "which OSCAL cannot state") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if kept, _ := os.ReadFile(file); string(kept) != "old" {
		t.Errorf("the file is now %q", kept)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}
