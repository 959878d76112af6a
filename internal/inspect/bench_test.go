package inspect_test

import (
	"crypto/rand"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/inspect"
)

// BenchmarkInspect looks into a disk whose root has a GiB that does not compress and ten thousand small files. Memory is the most that
// the process had while it looked.
func BenchmarkInspect(b *testing.B) {
	s := build(b, recipe{version: "1.0.0", edit: func(t testing.TB, tree string) {
		block := make([]byte, 8<<20)
		for i := range 128 {
			rand.Read(block)
			put(t, tree, fmt.Sprintf("usr/lib/large/%d", i), string(block))
		}
		for i := range 10000 {
			put(t, tree, fmt.Sprintf("usr/lib/small/%d/%d", i%100, i), strings.Repeat(fmt.Sprint(i), 100))
		}
	}})
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil { // the most from now on
		b.Fatal(err)
	}
	b.ResetTimer()
	for b.Loop() {
		i, err := inspect.Inspect(b.Context(), s.disk, s.options())
		if err != nil || i.Verdict != inspect.Pass {
			b.Fatalf("%v, fail %q", err, bad(i, inspect.Fail))
		}
		b.SetBytes(s.size["root"])
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if kib, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			var n float64
			fmt.Sscan(kib, &n)
			b.ReportMetric(n/1024, "MiB-most")
		}
	}
}
