package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/node/nodetest"
)

// BenchmarkIdle runs the agent for some time (STRONGROOM_IDLE, two minutes) as it runs on a node where nothing happens, and
// prints what it needs: it judges this machine against a node's baseline every ten seconds, a Prometheus asks for its
// metrics every 15 s over TLS, and figures are sent by StatsD and DogStatsD. The first three seconds are not counted.
func BenchmarkIdle(b *testing.B) {
	duration := 2 * time.Minute
	if text := os.Getenv("STRONGROOM_IDLE"); text != "" {
		var err error
		if duration, err = time.ParseDuration(text); err != nil {
			b.Fatal(err)
		}
	}
	agent := startAgent(b)
	time.Sleep(3 * time.Second)
	before, began, most := processorTime(b, agent.Process.Pid), time.Now(), 0
	var last string
	var err error
	for time.Since(began) < duration {
		if last, err = agent.scrape("/metrics"); err != nil {
			b.Fatal(err)
		}
		most = max(most, status(b, agent.Process.Pid, "VmRSS:"))
		time.Sleep(min(15*time.Second, duration-time.Since(began)))
	}
	spent, wall := processorTime(b, agent.Process.Pid)-before, time.Since(began)
	b.ReportMetric(float64(most)/1024, "MiB-RSS")
	b.ReportMetric(float64(status(b, agent.Process.Pid, "VmHWM:"))/1024, "MiB-RSS-most")
	b.ReportMetric(100*spent.Seconds()/wall.Seconds(), "%-of-one-core")
	b.ReportMetric(0, "ns/op")
	if !strings.Contains(last, "hostcheck_check_status{") {
		b.Fatal("nothing was judged")
	}
	if !strings.Contains(last, "hostcheck_run_duration_seconds_count") || strings.Contains(last, "hostcheck_run_duration_seconds_count 0\n") {
		b.Fatal("the agent did not judge")
	}
}

// runningAgent is one that this machine runs.
type runningAgent struct {
	*exec.Cmd
	run    string // what it sees as /run
	scrape func(path string) (string, error)
}

// startAgent runs the agent on this machine, against a node's baseline and some controls more, until the benchmark ends. It has
// judged when startAgent returns.
func startAgent(b *testing.B, more ...control.Control) runningAgent {
	b.Helper()
	if os.Geteuid() != 0 {
		b.Skip("the agent runs as root, and the baseline is mounted where it looks for it")
	}
	dir := b.TempDir()
	binary := filepath.Join(dir, "hostcheck")
	build := exec.Command("go", "build", "-trimpath", "-tags", "nethttpomithttp2", "-ldflags", "-s -w", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	profile := checktest.Profile()
	port := unused(b)
	profile.Parameters = map[string]string{"agent_port": port}
	compiled := checktest.Compile(b, profile)
	compiled.Controls = append(compiled.Controls, more...)
	j, err := compiled.JSON()
	if err != nil {
		b.Fatal(err)
	}
	// Mounted over the directory above the baseline's, in a mount namespace of the agent's own.
	mounted := filepath.Join(dir, "lib")
	below := filepath.Join(mounted, filepath.Base(filepath.Dir(baseline.Path)))
	if err := os.MkdirAll(below, 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(below, filepath.Base(baseline.Path)), j, 0o644); err != nil {
		b.Fatal(err)
	}
	ca := nodetest.NewCA(b, nodetest.Today())
	var log bytes.Buffer
	// Figures leave by both ways; nobody listens, which costs the most.
	identity, err := json.Marshal(node.Identity{NodeID: "i-1", Telemetry: node.Telemetry{StatsDAddress: "127.0.0.1:9", DogStatsDAddr: "127.0.0.1:9", DisableHostname: true}})
	if err != nil {
		b.Fatal(err)
	}
	run := filepath.Join(dir, "run", filepath.Base(filepath.Dir(node.IdentityPath)))
	if err := os.MkdirAll(run, 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(run, filepath.Base(node.IdentityPath)), identity, 0o600); err != nil {
		b.Fatal(err)
	}
	agent := runningAgent{run: filepath.Dir(run)}
	agent.Cmd = exec.Command("unshare", "--mount", "sh", "-c", `mount --bind "$1" /run && mount --bind "$2" "$3" && exec "$4" run`, "sh",
		filepath.Dir(run), mounted, filepath.Dir(filepath.Dir(baseline.Path)), binary)
	agent.Env = append(os.Environ(), "CREDENTIALS_DIRECTORY="+nodetest.WriteCredentials(b, ca.Credentials("", "127.0.0.1")))
	agent.Stdout, agent.Stderr = &log, &log
	if err := agent.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = agent.Process.Signal(os.Interrupt)
		_ = agent.Wait()
		if b.Failed() {
			b.Log(log.String())
		}
	})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.PEM)
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	agent.scrape = func(path string) (string, error) {
		answer, err := client.Get("https://127.0.0.1:" + port + path)
		if err != nil {
			return "", err
		}
		defer answer.Body.Close()
		page, err := io.ReadAll(answer.Body)
		if err == nil && answer.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s", path, answer.Status)
		}
		return string(page), err
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if _, err = agent.scrape("/report"); err == nil {
			break
		}
		if time.Now().After(deadline) {
			b.Fatal(err)
		}
	}
	return agent
}

func unused(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// status gives a figure of /proc/PID/status, in KiB.
func status(b *testing.B, pid int, name string) int {
	b.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		if value, ok := strings.CutPrefix(line, name); ok {
			n, err := strconv.Atoi(strings.Fields(value)[0])
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatalf("there is no %s", name)
	return 0
}

// processorTime is what a process has used, in user and system mode: in hundredths of a second.
func processorTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(content), ") ")
	fields := strings.Fields(rest)
	var ticks int
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
