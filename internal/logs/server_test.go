package logs_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/node/nodetest"
)

// vault is a real one, unsealed, with the two audit devices of a node: a file below dir/audit, and syslog, whose other end is the test. The
// kernel shows the server another /run, in which the socket of syslog is, and mounts a small file system at dir/audit when asked to.
type vault struct {
	t       *testing.T
	dir     string
	pid     int
	url     string
	root    string // the root token
	journal *journal
	log     nodetest.Log
}

// journal is the other end of the syslog device.
type journal struct {
	socket *net.UnixConn
	mu     sync.Mutex
	lines  []string
}

func (j *journal) read() {
	buffer := make([]byte, 256<<10)
	for {
		n, err := j.socket.Read(buffer)
		if err != nil {
			return
		}
		j.mu.Lock()
		j.lines = append(j.lines, string(buffer[:n]))
		j.mu.Unlock()
	}
}

func (j *journal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines, "\n")
}

// startVault starts the program that VAULT_BINARY names. A small disk has 256 KiB.
func startVault(t *testing.T, smallDisk bool) *vault {
	t.Helper()
	program := os.Getenv("VAULT_BINARY")
	if program == "" {
		t.Skip("SKIPPED, NOTHING WAS PROVEN: VAULT_BINARY is not set")
	}
	v := &vault{t: t, dir: t.TempDir()}
	for _, d := range []string{"audit", "data"} {
		if err := os.Mkdir(filepath.Join(v.dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	v.listen()
	api, cluster := freePort(t), freePort(t)
	v.url = "http://" + api
	config := fmt.Sprintf(`
disable_mlock = true
api_addr = %[1]q
cluster_addr = "http://%[4]s"
storage "raft" {
  path = "%[2]s/data"
  node_id = "n1"
}
listener "tcp" {
  address = %[3]q
  cluster_address = %[4]q
  tls_disable = true
}
telemetry {
  prometheus_retention_time = "24h"
  disable_hostname = true
}
`, v.url, v.dir, api, cluster)
	if err := os.WriteFile(filepath.Join(v.dir, "vault.hcl"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	mounts := `mount -t tmpfs run /run && touch /run/log && mount --bind "$1/log" /run/log && if [ -e /dev/log ]; then mount --bind "$1/log" /dev/log; fi && `
	if smallDisk {
		mounts += `mount -t tmpfs -o size=256k audit "$1/audit" && `
	}
	cmd := exec.Command("unshare", "--map-root-user", "--mount", "sh", "-c", mounts+`exec "$2" server -config="$1/vault.hcl"`, "sh", v.dir, program)
	cmd.Stdout, cmd.Stderr = &v.log, &v.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	v.pid = cmd.Process.Pid
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(v.log.String())
		}
	})
	v.eventually("the server answers", func() error {
		_, err := v.try("GET", "sys/seal-status", nil)
		return err
	})
	made := v.ask("PUT", "sys/init", map[string]any{"secret_shares": 1, "secret_threshold": 1})
	v.root = made["root_token"].(string)
	v.ask("PUT", "sys/unseal", map[string]any{"key": made["keys"].([]any)[0]})
	v.eventually("the server is active", func() error {
		_, err := v.try("GET", "sys/auth", nil)
		return err
	})
	v.ask("PUT", "sys/audit/file", map[string]any{"type": "file", "options": map[string]string{"file_path": v.dir + "/audit/audit.log", "mode": "0600"}})
	v.ask("PUT", "sys/audit/syslog", map[string]any{"type": "syslog", "options": map[string]string{"tag": "vault-audit"}})
	v.ask("PUT", "sys/mounts/kv", map[string]any{"type": "kv"})
	return v
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// listen makes the other end of the syslog device.
func (v *vault) listen() {
	v.t.Helper()
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: v.dir + "/log", Net: "unixgram"})
	if err != nil {
		v.t.Fatal(err)
	}
	v.journal = &journal{socket: socket}
	go v.journal.read()
	v.t.Cleanup(func() { socket.Close() })
}

// audit is the directory of the file device, as the server sees it.
func (v *vault) audit(name ...string) string {
	return filepath.Join(append([]string{fmt.Sprintf("/proc/%d/root", v.pid), v.dir, "audit"}, name...)...)
}

func (v *vault) eventually(what string, try func() error) {
	v.t.Helper()
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = try(); err == nil {
			return
		}
	}
	v.t.Fatalf("waited in vain until %s: %v", what, err)
}

func (v *vault) try(method, path string, body any) (map[string]any, error) {
	return v.tryAs(v.root, method, path, body)
}

func (v *vault) tryAs(token, method, path string, body any) (map[string]any, error) {
	content, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequest(method, v.url+"/v1/"+path, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	request.Header.Set("X-Vault-Token", token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode >= 300 {
		return nil, fmt.Errorf("%s: %s: %s", path, answer.Status, said)
	}
	out := map[string]any{}
	if len(said) > 0 && said[0] == '{' {
		err = json.Unmarshal(said, &out)
	}
	return out, err
}

func (v *vault) ask(method, path string, body any) map[string]any {
	v.t.Helper()
	out, err := v.try(method, path, body)
	if err != nil {
		v.t.Fatal(err)
	}
	return out
}

// figure is one of the server's own metrics; 0 when it is not shown.
func (v *vault) figure(name string) float64 {
	v.t.Helper()
	request, err := http.NewRequest("GET", v.url+"/v1/sys/metrics?format=prometheus", nil)
	if err != nil {
		v.t.Fatal(err)
	}
	request.Header.Set("X-Vault-Token", v.root)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		v.t.Fatal(err)
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		v.t.Fatalf("metrics: %s, %v", answer.Status, err)
	}
	for line := range strings.Lines(string(page)) {
		if rest, ok := strings.CutPrefix(line, name); ok && (rest[0] == ' ' || rest[0] == '{') {
			var value float64
			fields := strings.Fields(rest)
			if _, err := fmt.Sscan(fields[len(fields)-1], &value); err != nil {
				v.t.Fatalf("%q: %v", line, err)
			}
			return value
		}
	}
	return 0
}
