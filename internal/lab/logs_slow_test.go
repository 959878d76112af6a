//go:build boot && slow

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/lab/network"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/overlay"
)

// TestBootShipsLogs boots an image that ships its journal. The receiver is real: systemd-journal-remote behind HAProxy, which asks for the node's
// certificate. What Vault audits arrives there, and so does the event that a root token was used; the node's figures say the same, and its audit log is put
// aside while Vault writes to it.
func TestBootShipsLogs(t *testing.T) {
	segment, err := network.New(testLog())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { segment.Close() })
	authority := newAuthority(t)
	received := receiveLogs(t, segment, authority)

	if err := bake(t.Context(), recipe{name: "ships", parameters: map[string]string{"log_shipping": "journal-upload", "audit_rotate_size": "1M"}, drift: []overlay.Fragment{
		overlay.File(unitDir+"strongroom-rotate.service.d/99-loud.conf", "[Service]\nLogLevelMax=info\n"),
	}}); err != nil {
		t.Fatal(err)
	}
	lease, err := segment.Lease("node-1", PortAPI)
	if err != nil {
		t.Fatal(err)
	}
	identity := identityOf(lease, Services{}.orUsual(), "logs {\n  receiver = \"https://host.lab:19532\"\n}\n")
	cert, key, err := authority.issue(lease.Host(), lease.Address)
	if err != nil {
		t.Fatal(err)
	}
	config := Config{
		Disk: newDisk(t, filepath.Join(workDir, "ships", "disk.raw")), UUID: NewUUID(), Network: segment,
		Credentials: []Credential{
			{node.CredentialConfig, node.NewSecret([]byte(identity.config()))},
			{node.CredentialCert, node.NewSecret(cert)},
			{node.CredentialKey, node.NewSecret(key)},
			{node.CredentialCA, node.NewSecret(authority.CA())},
		},
		ConsoleLog: filepath.Join(t.TempDir(), "console.log"), Log: testLog(),
	}
	machine, err := Start(t.Context(), config.orUsual())
	if err != nil {
		t.Fatal(err)
	}
	node := &Node{machine, authority.ClientTLS()}
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(node.ConsoleLog())
			t.Logf("console:\n%s", text)
		}
		node.Close()
	})
	requirePass(t, verdictOf(t, node))
	for _, id := range []string{"logs-shipped", "audit-log-rotated", "audit-journal-unlimited"} {
		requireOutcome(t, verdictOf(t, node), id, control.Pass)
	}
	underLoad(t, node)

	await(t, node, "the audit log at the receiver", func() bool {
		return strings.Contains(received(t, "SYSLOG_IDENTIFIER=vault"), `load/data/entry/399`)
	})
	await(t, node, "the use of a root token at the receiver", func() bool {
		for line := range strings.Lines(received(t, "MESSAGE_ID=e1a7c40d5b7f4c0f8d3b6a92f0c85e77")) {
			var entry struct {
				Priority string `json:"PRIORITY"`
				Event    string `json:"STRONGROOM_ROOT_TOKEN"`
				Unit     string `json:"_SYSTEMD_UNIT"`
			}
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Priority == "2" && entry.Event == "used" && entry.Unit == "hostcheck-audit.service" {
				return true
			}
		}
		return false
	})
	figure := func(name string) float64 {
		page, err := node.Metrics(t.Context())
		if err != nil {
			return -1
		}
		found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(page)
		if found == nil {
			return -1
		}
		var value float64
		_, _ = fmt.Sscan(string(found[1]), &value)
		return value
	}
	await(t, node, "the node's figures", func() bool {
		return figure("hostcheck_root_token_uses_total") > loadEntries && figure("hostcheck_audit_unreadable_lines_total") == 0 &&
			figure("hostcheck_journal_newest_timestamp_seconds")-figure("hostcheck_journal_shipped_timestamp_seconds") < 60 &&
			figure("hostcheck_audit_filesystem_avail_bytes") > 0 && figure("hostcheck_audit_file_written_timestamp_seconds") > 0
	})
	// The timer looks once a minute, and on this node it says so. What was put aside is found on the disk.
	runs := func() int { return strings.Count(received(t, "UNIT=strongroom-rotate.service"), "\n") }
	before := runs()
	await(t, node, "two more looks at the size of the audit log", func() bool { return runs() >= before+6 })
	powerOff(t, node)
	requireUndisturbed(t, node, "vault")
	requireRotated(t, config.Disk)
}

// requireRotated reads the audit partition of a node that is off.
func requireRotated(t *testing.T, disk *Disk) {
	t.Helper()
	raw := filepath.Join(t.TempDir(), "used.raw")
	output(t, "qemu-img", "convert", "-O", "raw", disk.Path, raw)
	at := partition(t, raw, "strongroom-audit")
	listed := string(output(t, "debugfs", "-R", "ls -l /", fmt.Sprintf("%s?offset=%d", raw, at)))
	for _, name := range []string{"audit.log\n", "audit.log.1\n"} {
		if !strings.Contains(listed, name) {
			t.Errorf("there is no %q on the audit partition:\n%s", strings.TrimSpace(name), listed)
		}
	}
	first := filepath.Join(t.TempDir(), "audit.log.1")
	output(t, "debugfs", "-R", "dump /audit.log.1 "+first, fmt.Sprintf("%s?offset=%d", raw, at))
	content, err := os.ReadFile(first)
	if err != nil || len(content) < 1<<20 {
		t.Errorf("what was put aside has %d bytes, %v", len(content), err)
	}
}

// receiveLogs starts a receiver of journals on the lab's host, and gives what asks it for entries, as JSON.
func receiveLogs(t *testing.T, segment *network.Network, authority *Authority) func(t *testing.T, match string) string {
	t.Helper()
	const remote = "/lib/systemd/systemd-journal-remote"
	for _, path := range []string{remote, "/usr/sbin/haproxy"} {
		if _, err := os.Stat(path); err != nil {
			t.Skip("needs Debian's packages systemd-journal-remote and haproxy (make deps)")
		}
	}
	cert, key, err := authority.issue("host.lab", network.Host)
	if err != nil {
		t.Fatal(err)
	}
	dir, front, back := t.TempDir(), freeAddress(t), freeAddress(t)
	config := fmt.Sprintf(`defaults
  mode http
  timeout connect 5s
  timeout client 10m
  timeout server 10m
frontend logs
  bind %[1]s ssl crt %[2]s/pem ca-file %[2]s/ca verify required
  default_backend remote
backend remote
  server remote %[3]s
`, front, dir, back)
	for name, content := range map[string][]byte{"pem": append(cert, key...), "ca": authority.CA(), "cfg": []byte(config)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "received")
	if err := os.Mkdir(out, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{{remote, "--listen-http=" + back, "--output=" + out}, {"/usr/sbin/haproxy", "-db", "-f", dir + "/cfg"}} {
		cmd := exec.Command(command[0], command[1:]...)
		var log strings.Builder
		cmd.Stdout, cmd.Stderr = &log, &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if t.Failed() {
				t.Logf("%s: %s", command[0], log.String())
			}
		})
	}
	listener, err := segment.Listen(netip.AddrPortFrom(network.Host, 19532))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go carryTo(listener, front)
	return func(t *testing.T, match string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		// It fails while nothing has arrived, and may while the file is written to.
		text, _ := exec.CommandContext(ctx, "journalctl", "--directory="+out, "--output=json", "--all", "--quiet", match).Output()
		return string(text)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// carryTo hands each connection to an address of the real host.
func carryTo(listener net.Listener, address string) {
	for {
		in, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer in.Close()
			out, err := net.Dial("tcp", address)
			if err != nil {
				return
			}
			defer out.Close()
			go func() { _, _ = io.Copy(out, in); _ = out.(*net.TCPConn).CloseWrite() }()
			_, _ = io.Copy(in, out)
		}()
	}
}
