package configure_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/configure"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/node/nodetest"
)

const logsBlock = "logs {\n  receiver = \"https://logs.example.net:19532\"\n}\n"

// withReceiver is a node.hcl whose firewall lets the journal out.
func withReceiver(block string) string {
	return strings.Replace(config, "firewall {", "firewall {\n  log_receivers = [\"192.0.2.9\"]", 1) + block
}

// The shipper is started with what node.hcl says, and nobody but root can read it or the key that it is given.
func TestLogs(t *testing.T) {
	ca := nodetest.NewCA(t, nodetest.Today())
	o, fw, log := machine(t, ca.Credentials(withReceiver(logsBlock), "node.example"))
	o.Baked.LogShipping = true
	if _, err := configure.Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if got := read(t, o.Root, "run/hostcheck/logs/receiver"); got != "RECEIVER=https://logs.example.net:19532\n" {
		t.Errorf("receiver: %q", got)
	}
	if got := read(t, o.Root, "run/hostcheck/logs/ca.crt"); got != string(ca.PEM) {
		t.Error("the receiver is believed by other authorities than the cluster's")
	}
	if info, err := os.Stat(filepath.Join(o.Root, "run/hostcheck/logs")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	if fw.elements("log_receivers4") != 1 || fw.elements("log_receivers6") != 0 || log.Len() == 0 || strings.Contains(log.String(), "names no receiver") {
		t.Errorf("firewall %+v\n%s", fw.sets, log)
	}

	// A later boot without the block: it does not ship to where an earlier one said.
	put(t, o.Credentials, node.CredentialConfig, config)
	if _, err := configure.Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(o.Root, "run/hostcheck/logs")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the receiver is still there: %v", err)
	}
	if !strings.Contains(log.String(), "names no receiver") {
		t.Errorf("that nothing is shipped is told nowhere:\n%s", log)
	}
}

func TestLogsOfAnotherImage(t *testing.T) {
	for name, c := range map[string]struct {
		ships bool
		port  int
		want  string
	}{
		"without a shipper": {false, 19532, "has nothing that ships it"},
		"with another port": {true, 443, "port 443 only, and the receiver has port 19532"},
	} {
		t.Run(name, func(t *testing.T) {
			o, fw, _ := machine(t, nodetest.NewCA(t, nodetest.Today()).Credentials(withReceiver(logsBlock), "node.example"))
			o.Baked.LogShipping, o.Baked.LogPort = c.ships, c.port
			if _, err := configure.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if fw.sets == nil {
				t.Error("monitoring cannot reach the agent and read why")
			}
		})
	}
}

// The shipper is started again for a new certificate of the node and for new authorities of the receiver, and for nothing else.
func TestRenewedLogs(t *testing.T) {
	r := &renewing{t: t, ca: nodetest.NewCA(t, nodetest.Today())}
	r.o, _, _ = machine(t, r.ca.Credentials(withReceiver(strings.Replace(logsBlock, "\n}", "\n  ca = \"credential:strongroom.logs.ca\"\n}", 1)), "node.example", "127.0.0.1"))
	r.o.Baked.LogShipping = true
	put(t, r.o.Credentials, node.CredentialLogsCA, string(nodetest.NewCA(t, nodetest.Today()).PEM))
	r.configure()
	if done, err := r.renew(); err != nil || done.Logs {
		t.Errorf("nothing is new: %+v, %v", done, err)
	}
	other := string(nodetest.NewCA(t, nodetest.Today()).PEM)
	put(t, r.o.Credentials, node.CredentialLogsCA, other)
	if done, err := r.renew(); err != nil || !done.Logs || done.TLS || read(t, r.o.Root, "run/hostcheck/logs/ca.crt") != other {
		t.Errorf("new authorities: %+v, %v", done, err)
	}
	fresh := r.ca.Credentials(config, "node.example", "127.0.0.1")
	r.offer(fresh.Material)
	if done, err := r.renew(); err != nil || !done.Logs || !done.TLS {
		t.Errorf("a new certificate: %+v, %v", done, err)
	}
}
