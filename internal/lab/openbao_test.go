//go:build boot

package lab

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/report"
)

// TestBootOpenBao boots an image of OpenBao with ports of its own: every must control passes, and the server initialises,
// unseals, serves secrets and writes its audit log to the two devices of its configuration, inside its sandbox.
func TestBootOpenBao(t *testing.T) {
	if os.Getenv("OPENBAO_BINARY") == "" {
		t.Skip("SKIPPED, NOTHING WAS PROVEN: OPENBAO_BINARY is not set; OpenBao cannot be built from its Go module, so give the path of a bao of 2.6 or later")
	}
	t.Parallel()
	ports := map[string]string{"api_port": "18200", "cluster_port": "18201", "agent_port": "19810"}
	if err := bake(t.Context(), recipe{name: "openbao", server: "openbao", parameters: ports}); err != nil {
		t.Fatal(err)
	}
	services, err := ServicesOf(ports)
	if err != nil {
		t.Fatal(err)
	}
	node := start(t, Config{Disk: newDisk(t, filepath.Join(workDir, "openbao", "disk.raw")), Services: services, UUID: NewUUID()})
	requirePass(t, verdictOf(t, node))

	t.Run("it serves inside its sandbox", func(t *testing.T) { useOpenBao(t, node) })
	t.Run("the node passes while it serves", func(t *testing.T) {
		before, _, err := node.Report(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(pollInterval) {
			d, _, err := node.Report(t.Context())
			if err == nil && d.Started.After(before.Started) {
				requirePass(t, d)
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("the node was not judged again: %v", err)
			}
		}
	})
	t.Run("only the ports of the image answer", func(t *testing.T) {
		found, err := node.Scan(t.Context(), append(scanned(), services.API, services.Raft, services.Telemetry))
		if err != nil {
			t.Fatal(err)
		}
		if want := []int{services.API, services.Raft, services.Telemetry}; !slices.Equal(found.Open, want) {
			t.Errorf("open ports %v, want %v", found.Open, want)
		}
	})
	t.Run("the power button shuts down in order", func(t *testing.T) { powerOff(t, node) })
	t.Run("its sandbox refused nothing that it does", func(t *testing.T) { requireUndisturbed(t, node, "openbao") })
}

// requirePass shows what does not pass when the verdict at stage run is not pass.
func requirePass(t *testing.T, d *report.Document) {
	t.Helper()
	if d.Verdict == check.Pass && d.Stage == control.StageRun {
		return
	}
	for _, c := range d.Controls {
		if c.Outcome == control.Fail || c.Outcome == control.Unknown {
			t.Errorf("%s is %s: %+v", c.ID, c.Outcome, c.Observations)
		}
	}
	t.Fatalf("verdict %s at stage %s", d.Verdict, d.Stage)
}

// useOpenBao makes the server a cluster of one and asks it for what a server is for.
func useOpenBao(t *testing.T, node *Node) {
	var keys struct {
		KeysBase64 []string `json:"keys_base64"`
		RootToken  string   `json:"root_token"`
	}
	ask(t, node, "", "PUT", "/v1/sys/init", map[string]any{"secret_shares": 1, "secret_threshold": 1}, &keys)
	ask(t, node, "", "PUT", "/v1/sys/unseal", map[string]any{"key": keys.KeysBase64[0]}, nil)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(pollInterval) {
		if status, _, err := node.Get(t.Context(), node.config.Services.API, "/v1/sys/health"); err == nil && status == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the server does not become active")
		}
	}
	ask(t, node, keys.RootToken, "POST", "/v1/sys/mounts/kv", map[string]any{"type": "kv"}, nil)
	ask(t, node, keys.RootToken, "PUT", "/v1/kv/proof", map[string]any{"value": "kept"}, nil)
	var secret struct{ Data struct{ Value string } }
	ask(t, node, keys.RootToken, "GET", "/v1/kv/proof", nil, &secret)
	if secret.Data.Value != "kept" {
		t.Errorf("the secret reads %q", secret.Data.Value)
	}
	var audit struct {
		Data map[string]struct{ Type string }
	}
	ask(t, node, keys.RootToken, "GET", "/v1/sys/audit", nil, &audit)
	if got := slices.Sorted(maps.Keys(audit.Data)); !slices.Equal(got, []string{"file/", "syslog/"}) {
		t.Errorf("audit devices %q", got)
	}
	if status, body := send(t, node, keys.RootToken, "PUT", "/v1/sys/audit/third", map[string]any{"type": "file", "options": map[string]string{"file_path": "/var/lib/openbao/x"}}); status < 400 {
		t.Errorf("an audit device was made through the API: status %d %s", status, body)
	}
	if status, body := send(t, node, "", "PUT", "/v1/sys/generate-root/attempt", map[string]any{}); status < 400 {
		t.Errorf("a root token is generated without a token: status %d %s", status, body)
	}
}

// ask sends a request that must succeed, and decodes the answer.
func ask(t *testing.T, node *Node, token, method, path string, body, answer any) {
	t.Helper()
	status, content := send(t, node, token, method, path, body)
	if status >= 300 {
		t.Fatalf("%s %s: status %d: %s", method, path, status, content)
	}
	if answer != nil {
		if err := json.Unmarshal(content, answer); err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
	}
}

func send(t *testing.T, node *Node, token, method, path string, body any) (status int, content []byte) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, "https://"+node.Address(node.config.Services.API)+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("X-Vault-Token", token)
	}
	client := http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: node.trust, DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(fmt.Errorf("%s %s: %w", method, path, err))
	}
	defer response.Body.Close()
	content, err = io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, content
}
