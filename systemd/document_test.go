package systemd_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the table of docs/sandbox.md")

// sandboxDocument shows the remaining points to who audits a node. The table between the marks is written
// from the reasons that TestEveryRemainingExposureHasItsReason holds against systemd's own review.
const (
	sandboxDocument = "../docs/sandbox.md"
	tableBegins     = "<!-- begin: go test ./systemd -run TestSandboxDocument -update -->\n"
	tableEnds       = "<!-- end -->\n"
)

func TestSandboxDocument(t *testing.T) {
	content, err := os.ReadFile(sandboxDocument)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(content), tableBegins)
	_, after, ok2 := strings.Cut(rest, tableEnds)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no place for the table", sandboxDocument)
	}
	want := before + tableBegins + exposureTable() + tableEnds + after
	if *update {
		if err := os.WriteFile(sandboxDocument, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(content) {
		t.Errorf("%s is not what the tests hold; if the change is meant: go test ./systemd -run TestSandboxDocument -update", sandboxDocument)
	}
}

func exposureTable() string {
	var b strings.Builder
	b.WriteString("\n| unit | exposure | bar |\n|---|---|---|\n")
	for _, e := range exposures {
		fmt.Fprintf(&b, "| `%s`%s | %.1f | %.1f |\n", e.unit, lockNote(e), e.known, e.bar)
	}
	// A reason stands once, with the units that it holds for.
	units := map[[2]string][]string{}
	for _, e := range exposures {
		for name, reason := range e.reasons {
			key := [2]string{name, reason}
			units[key] = append(units[key], "`"+strings.TrimSuffix(e.unit, ".service")+"`"+lockNote(e))
		}
	}
	b.WriteString("\n| point that stays | units | reason |\n|---|---|---|\n")
	for _, key := range slices.SortedFunc(maps.Keys(units), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		of := strings.Join(units[key], ", ")
		of = strings.ReplaceAll(of, "`vault`, `vault` with memory_lock=on", "`vault`")
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", strings.ReplaceAll(key[0], "|", "\\|"), of, strings.ReplaceAll(key[1], "|", "\\|"))
	}
	b.WriteString("\n")
	return b.String()
}

func lockNote(e remaining) string {
	if e.memoryLock == "on" {
		return " with memory_lock=on"
	}
	return ""
}
