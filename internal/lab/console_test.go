package lab

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestConsole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "console.log")
	var live bytes.Buffer
	c, err := newConsole(path, &live)
	if err != nil {
		t.Fatal(err)
	}
	written := "\x1b[2J\x1b[01;01HBdsDxe: starting\r\n\r\n[\x1b[0;32m  OK  \x1b[0m] Reached target \x1b[0;1;39mbasic\x1b[0m.\r\n\xff half a l"
	for chunk := range slices.Chunk([]byte(written), 7) {
		if n, err := c.Write(chunk); n != len(chunk) || err != nil {
			t.Fatalf("write: %d, %v", n, err)
		}
	}
	want := []string{"BdsDxe: starting", "[  OK  ] Reached target basic.", "half a l"}
	if got := c.Tail(); !slices.Equal(got, want) {
		t.Errorf("tail %q, want %q", got, want)
	}
	c.Close()
	log, err := os.ReadFile(path)
	if err != nil || string(log) != written || live.String() != written {
		t.Errorf("log %q, live %q, error %v; want every byte in both", log, live.String(), err)
	}
}

// The tail is bounded in lines, and a line in bytes.
func TestConsoleBounds(t *testing.T) {
	c, err := newConsole(filepath.Join(t.TempDir(), "console.log"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range 100 {
		fmt.Fprintf(c, "line %d\n", i)
	}
	if tail := c.Tail(); len(tail) != tailLines || tail[tailLines-1] != "line 99" {
		t.Errorf("tail %q", tail)
	}
	for range 1000 {
		c.Write(bytes.Repeat([]byte("x"), 100))
	}
	if len(c.line) > longestConsoleLine {
		t.Errorf("a line without an end takes %d bytes", len(c.line))
	}
}
