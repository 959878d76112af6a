package main

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/rollout"
)

// liveNode is one node on this host: the server's API and the agent on one port.
func liveNode(t *testing.T) (port string) {
	t.Helper()
	page, err := os.ReadFile("../../internal/report/testdata/fail.json")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		switch {
		case r.URL.Path == "/report" && user == "ops" && password == "swordfish":
			_, _ = w.Write(page)
		case r.URL.Path == "/report":
			w.WriteHeader(http.StatusUnauthorized)
		case r.Header.Get("X-Vault-Token") != "s.rollout":
			w.WriteHeader(http.StatusForbidden)
		case strings.HasSuffix(r.URL.Path, "/raft/configuration"):
			fmt.Fprint(w, `{"data": {"config": {"servers": [{"node_id": "n1", "address": "127.0.0.1:8201", "leader": true, "voter": true}]}}}`)
		default:
			fmt.Fprint(w, `{"data": {"failure_tolerance": 0, "servers": {"n1": {"healthy": true}}}}`)
		}
	}))
	t.Cleanup(server.Close)
	authority := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("VAULT_ADDR", server.URL)
	t.Setenv("VAULT_CACERT", authority)
	t.Setenv("VAULT_TOKEN", "s.rollout")
	_, port, err = net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func imageOf(t *testing.T, root string) string {
	t.Helper()
	dir := t.TempDir()
	manifest := fmt.Sprintf(`{"schema": "strongroom.image/v1", "version": "2.0.0", "root_hash": %q}`, root)
	if err := os.WriteFile(filepath.Join(dir, "manifest.json"), []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestRolloutPlan(t *testing.T) {
	port := liveNode(t)
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("swordfish\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	base := []string{"rollout", "--image", imageOf(t, strings.Repeat("b", 64)), "--api-port", port, "--agent-port", port}
	var out, stderr bytes.Buffer
	if code := run(append(base, "--agent-user", "ops", "--agent-password-file", password), &out, &stderr); code != exitOK {
		t.Fatalf("exit %d: %s", code, stderr.String())
	}
	row := strings.Fields(strings.Split(out.String(), "\n")[1])
	if row[0] != "n1" || row[2] != "active" || row[len(row)-2] != "fail" || row[len(row)-1] != "1" {
		t.Errorf("plan:\n%s", out.String())
	}
	out.Reset()
	if code := run(base, &out, &stderr); code != exitOK || !strings.Contains(out.String(), "401") || !strings.Contains(out.String(), "unknown") {
		t.Errorf("without the agent's password: exit %d\n%s", code, out.String())
	}
	// One node cannot be spared: the command is not run.
	ran := filepath.Join(t.TempDir(), "ran")
	stderr.Reset()
	code := run(append(base, "--agent-user", "ops", "--agent-password-file", password, "--", "touch", ran), &out, &stderr)
	if _, err := os.Stat(ran); code != exitFailure || err == nil || !strings.Contains(stderr.String(), "nothing was changed: n1 is the only member") {
		t.Errorf("exit %d: %s", code, stderr.String())
	}
}

func TestRolloutRefuses(t *testing.T) {
	t.Setenv("VAULT_TOKEN", "")
	t.Setenv("HOME", t.TempDir())
	image := imageOf(t, strings.Repeat("b", 64))
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "manifest.json"), []byte(`{"schema": "other/v1"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want []string
	}{
		{[]string{"--agent-user", "ops", "--api-port", "0", "--patience", "0s", "--size", "-1"}, exitUsage,
			[]string{"--image", "go together", "--api-port: 0 is no port", "--patience", "--size: -1"}},
		{[]string{"--image", image, "./replace.sh"}, exitUsage, []string{`unknown argument "./replace.sh": write the command behind --`}},
		{[]string{"--image", image}, exitFailure, []string{"VAULT_TOKEN"}},
		{[]string{"--image", foreign}, exitFailure, []string{"is no manifest of an image"}},
		{[]string{"--image", t.TempDir()}, exitFailure, []string{"manifest.json"}},
	} {
		var out, stderr bytes.Buffer
		if code := run(append([]string{"rollout"}, c.args...), &out, &stderr); code != c.code {
			t.Errorf("%q: exit %d, want %d", c.args, code, c.code)
		}
		for _, want := range c.want {
			if !strings.Contains(stderr.String(), want) {
				t.Errorf("%q: %s\nwant %s", c.args, stderr.String(), want)
			}
		}
	}
}

// The command learns which node goes, and its failure is told.
func TestReplaceBy(t *testing.T) {
	var out bytes.Buffer
	m := rollout.Member{ID: "n1", Host: "10.0.0.1"}
	err := replaceBy(t.Context(), []string{"sh", "-c", `echo "$STRONGROOM_NODE_ID $STRONGROOM_NODE_HOST $STRONGROOM_IMAGE_VERSION"; exit 3`}, rollout.Target{Version: "2.0.0"}, m, &out)
	if out.String() != "n1 10.0.0.1 2.0.0\n" || err == nil || err.Error() != "sh: exit status 3" {
		t.Errorf("%q, %v", out.String(), err)
	}
}
