//go:build slow

package telemetry_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/node/nodetest"
	"github.com/strongroom/strongroom/internal/telemetry"
)

// OpenTelemetry's own collector takes metrics and entries, by mutual TLS, and shows what it has understood.
func TestRealCollector(t *testing.T) {
	if out, err := exec.Command("../../tools/build", "otelcol").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	program, err := exec.Command("../../tools/build", "--path", "otelcol").Output()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	dir := t.TempDir()
	ca := nodetest.NewCA(t, nodetest.Today())
	o := shown(t, ca)
	o.Endpoint = "https://" + address
	theirs := ca.Credentials("", "127.0.0.1")
	config := fmt.Sprintf(`receivers:
  otlp:
    protocols:
      http:
        endpoint: %s
        tls: {cert_file: %[2]s/tls.crt, key_file: %[2]s/tls.key, client_ca_file: %[2]s/ca.crt}
exporters:
  debug: {verbosity: detailed}
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    metrics: {receivers: [otlp], exporters: [debug]}
    logs: {receivers: [otlp], exporters: [debug]}
`, address, dir)
	for name, content := range map[string][]byte{"tls.crt": theirs.Cert, "tls.key": theirs.Key.Reveal(), "ca.crt": ca.PEM, "config.yaml": []byte(config)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	said := &nodetest.Log{}
	collector := exec.CommandContext(t.Context(), strings.TrimSpace(string(program)), "--config", filepath.Join(dir, "config.yaml"))
	collector.Stdout, collector.Stderr = said, said
	if err := collector.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = collector.Process.Kill()
		_ = collector.Wait()
		if t.Failed() {
			t.Log(said)
		}
	})
	until(t, "the collector is ready", func() bool { return strings.Contains(said.String(), "Everything is ready") })
	e := verifiedNode()
	e.SetNode(telemetry.Node{ID: "i-1", Cluster: "prod"})
	e.Judged(document(nil), false)
	j, _ := recorder()
	pushes(t, e, o, j, quiet)
	for _, text := range []string{"Name: hostcheck_gate_open", "Name: hostcheck_run_duration_seconds", "service.instance.id: Str(i-1)", "AggregationTemporality: Cumulative"} {
		until(t, "it has understood "+text, func() bool { return strings.Contains(said.String(), text) })
	}
	if err := j.Report(document(nil)); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"Body: Str(memory-swap-off: fail", "strongroom.control: Str(memory-swap-off)", "SeverityNumber: Fatal(21)"} {
		until(t, "it has understood "+text, func() bool { return strings.Contains(said.String(), text) })
	}
}
