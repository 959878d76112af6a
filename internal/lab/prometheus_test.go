//go:build boot

package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// requireScraped lets a real Prometheus scrape the nodes, and wants it to know each one's verdict: fail of the nodes
// that are no members, pass of the others.
func requireScraped(t *testing.T, ctx context.Context, c *Cluster) {
	t.Helper()
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("SKIPPED, NOTHING WAS PROVEN: needs Debian's package prometheus (make deps)")
	}
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	config := "global:\n  scrape_interval: 2s\n  scrape_timeout: 2s\nscrape_configs:\n"
	for _, m := range c.members {
		config += fmt.Sprintf("- job_name: %s\n  scheme: https\n  tls_config: {ca_file: %s, server_name: %s}\n  static_configs: [{targets: [%q]}]\n",
			m.name, ca, m.lease.Host(), m.running().Address(c.services.Telemetry))
	}
	for name, content := range map[string][]byte{ca: c.CA(), filepath.Join(dir, "prometheus.yml"): []byte(config)} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	var log bytes.Buffer
	cmd := exec.CommandContext(running, program, "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cancel()
	want := map[string]string{}
	for _, m := range c.members {
		want[m.name] = "fail"
		if m.passed() {
			want[m.name] = "pass"
		}
	}
	var got map[string]string
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(pace) {
		if got = verdictsOf(address); fmt.Sprint(got) == fmt.Sprint(want) {
			t.Logf("Prometheus: %v", got)
			return
		}
	}
	cancel()
	cmd.Wait()
	t.Errorf("Prometheus knows the verdicts %v, want %v\n%s", got, want, log.String())
}

// verdictsOf asks a Prometheus for the verdict of each job.
func verdictsOf(address string) map[string]string {
	response, err := http.Get("http://" + address + "/api/v1/query?query=" + url.QueryEscape("hostcheck_verdict == 1"))
	if err != nil {
		return nil
	}
	defer response.Body.Close()
	var answer struct {
		Data struct {
			Result []struct{ Metric map[string]string }
		}
	}
	if json.NewDecoder(response.Body).Decode(&answer) != nil {
		return nil
	}
	verdicts := map[string]string{}
	for _, r := range answer.Data.Result {
		verdicts[r.Metric["job"]] = r.Metric["hostcheck_verdict"]
	}
	return verdicts
}
