//go:build boot

package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/hardening"
	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/overlay"
	"github.com/strongroom/strongroom/internal/resource"
)

// benchScript runs both checkers on the running node and says on the console how long each took.
// Absolute times of an emulated processor mean nothing; their ratio within one boot does.
const benchScript = `#!/bin/sh
ms() {
	from=$(date +%s%N)
	"$@" >/dev/null 2>&1
	echo $((($(date +%s%N) - from) / 1000000))
}
echo "bench: goss says $(/usr/bin/goss -g /usr/lib/bench/goss.yaml validate --no-color 2>&1 | tail -n 1)" >/dev/console
for round in 1 2 3 4 5; do
	echo "bench: hostcheck $(ms /usr/bin/hostcheck verify --stage boot) goss $(ms /usr/bin/goss -g /usr/lib/bench/goss.yaml validate) ms" >/dev/console
done
echo "bench: done" >/dev/console
`

const benchUnit = `[Unit]
After=vault.service hostcheck.service

[Service]
Type=oneshot
# The node settles first: the agent judges the running Vault.
ExecStartPre=/usr/bin/sleep 20
ExecStart=/usr/lib/bench/run
`

var gossSays = regexp.MustCompile(`bench: goss says .*`)

var benchLine = regexp.MustCompile(`bench: hostcheck (\d+) goss (\d+) ms`)

// BenchmarkInGuest boots a node that also has goss, with a gossfile of those facts of the baseline
// that goss can look at, and compares the medians of five runs each in the same boot.
func BenchmarkInGuest(b *testing.B) {
	goss, err := exec.Command("../../tools/build", "--path", "goss").Output()
	if err != nil {
		b.Fatal(err)
	}
	gossfile, checks := gossFile(b)
	if err := bake(b.Context(), recipe{name: "bench", parameters: map[string]string{"allowed_units": "bench.service"}, drift: []overlay.Fragment{
		{Path: "/usr/lib/bench/run", Mode: 0o755, Content: []byte(benchScript)},
		overlay.File("/usr/lib/bench/goss.yaml", gossfile),
		overlay.File("/usr/lib/systemd/system/bench.service", benchUnit),
		overlay.Symlink("/usr/lib/systemd/system/multi-user.target.wants/bench.service", "../bench.service"),
	}, programs: []image.Binary{{Source: strings.TrimSpace(string(goss)), Path: "/usr/bin/goss"}}}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		started := time.Now()
		node := start(b, Config{Disk: newDisk(b, filepath.Join(workDir, "bench", "disk.raw")), UUID: NewUUID()})
		verdict := verdictOf(b, node)
		if verdict.Verdict != check.Pass {
			b.Fatalf("verdict %s", verdict.Verdict)
		}
		toVerdict := time.Since(started)
		var ours, theirs []float64
		said := ""
		for deadline := time.Now().Add(bootTimeout); len(ours) < 5; time.Sleep(time.Second) {
			if time.Now().After(deadline) {
				b.Fatal("the benchmark did not end")
			}
			text, err := os.ReadFile(node.ConsoleLog())
			if err != nil {
				b.Fatal(err)
			}
			// A goss that gave up at once would be fast.
			if said = gossSays.FindString(string(text)); said != "" && !strings.Contains(said, "Count: ") {
				b.Fatalf("goss did not check: %s", said)
			}
			ours, theirs = nil, nil
			for _, m := range benchLine.FindAllStringSubmatch(string(text), -1) {
				ours, theirs = append(ours, number(m[1])), append(theirs, number(m[2]))
			}
		}
		slices.Sort(ours)
		slices.Sort(theirs)
		b.ReportMetric(ours[2], "hostcheck_ms")
		b.ReportMetric(theirs[2], "goss_ms")
		b.ReportMetric(ours[2]/theirs[2], "hostcheck/goss")
		b.ReportMetric(float64(checks), "goss_checks")
		b.ReportMetric(verdict.Seconds*1000, "judging_ms")
		b.Log(said)
		b.ReportMetric(toVerdict.Seconds(), "boot_to_verdict_s")
		if err := node.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func number(s string) float64 {
	n, _ := strconv.ParseFloat(s, 64)
	return n
}

// gossFile asks goss for the sysctls, files and mounts of the baseline.
func gossFile(b *testing.B) (text string, checks int) {
	b.Helper()
	catalogue, err := hardening.Load()
	if err != nil {
		b.Fatal(err)
	}
	compiled, err := catalogue.Compile(control.Profile{Server: "vault", Platform: "vm", Layout: "sealed", Distribution: "debian/trixie"})
	if err != nil {
		b.Fatal(err)
	}
	var params, files, mounts strings.Builder
	for _, c := range compiled.Controls {
		for _, res := range c.Resources {
			switch r := res.(type) {
			case *resource.Sysctl:
				fmt.Fprintf(&params, "  %s: {value: %q}\n", r.Name, r.Value)
				checks++
			case *resource.File:
				if r.Target == "" {
					fmt.Fprintf(&files, "  %s: {exists: true, mode: %q}\n", r.Path, r.Mode)
					checks++
				}
			case *resource.Mount:
				fmt.Fprintf(&mounts, "  %s: {exists: true, opts: [%s]}\n", r.Point, strings.Join(r.Options, ", "))
				checks++
			}
		}
	}
	return "kernel-param:\n" + params.String() + "file:\n" + files.String() + "mount:\n" + mounts.String(), checks
}
