//go:build bake && boot && slow

package plugin_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/lab/plain"
	"github.com/strongroom/strongroom/internal/report"
)

// plant leaves on a machine what people and builds leave, as root.
const plant = `
ssh-keygen -q -t ed25519 -N '' -f /home/` + plain.User + `/.ssh/id_ed25519
ssh-keygen -q -t ecdsa -m PEM -N '' -f /etc/ssl/private/site.pem
printf 'hv''s.aB3dE5gHaB3dE5gHaB3dE5gH' >/root/.vault-token
mkdir -p /root/.aws && printf '[default]\naws_access_key_id = AK''IAAB3DAB3DAB3DAB3D\n' >/root/.aws/credentials
echo 'export DB_PASSWORD=hunter22' >/root/.bash_history
mkdir -p /var/lib/cloud/instances/i-0 && printf '#cloud-config\npassword: hunter33\n' >/var/lib/cloud/instances/i-0/user-data.txt
`

// planted is what is said of it, by control.
var planted = map[string][]string{
	"leaked-secrets-absent": {
		"a private key (PEM) in /home/" + plain.User + "/.ssh/id_ed25519, which the shutdown removes too late",
		"a private key (PEM) in /etc/ssl/private/site.pem",
		"a token of Vault or OpenBao in /root/.vault-token",
		"an access key of AWS in /root/.aws/credentials",
		"a value of DB_PASSWORD in /root/.bash_history",
		"a value of password in /var/lib/cloud/instances/i-0/user-data.txt, which the shutdown removes too late",
	},
	"home-credentials-absent": {"/root/.aws/credentials"},
	"machine-identity-absent": {"site.pem", ".aws"},
	"shell-history-absent":    {"/root/.bash_history", "/root/.vault-token"},
}

// A machine full of secrets: the build fails, names each with its place and reason, tells none, and leaves the machine open. The key
// that Packer itself has come in with is none of them.
func TestSecretsOnARealMachine(t *testing.T) {
	w := setUp(t)
	m, image, proxy := plainMachine(t, "bookworm", plant)
	dir, out, code := w.harden(t, m, image, proxy, "")
	if code == 0 {
		t.Error("packer build succeeds")
	}
	text, err := os.ReadFile(filepath.Join(dir, "machine-report.json"))
	if err != nil {
		t.Fatal(err)
	}
	document, err := report.ReadJSON(bytes.NewReader(text))
	if err != nil || document.Verdict != check.Fail {
		t.Fatalf("the report beside the template: %+v, %v", document, err)
	}
	found := map[string]string{}
	for _, c := range document.Controls {
		for _, o := range c.Observations {
			if c.Severity == control.Must && (o.Outcome == control.Fail || o.Outcome == control.Unknown) {
				found[c.ID] += o.Got + o.Error + "\n"
			}
		}
	}
	for id, wants := range planted {
		for _, want := range wants {
			if !strings.Contains(found[id], want) {
				t.Errorf("%s says %q, want %q", id, found[id], want)
			}
		}
		if !strings.Contains(out, id+" (fail)") {
			t.Errorf("Packer does not name %s", id)
		}
	}
	if len(found) != len(planted) || strings.Contains(found["leaked-secrets-absent"], "authorized_keys") {
		t.Errorf("other controls fail too: %q", found)
	}
	log, err := os.ReadFile(filepath.Join(dir, "packer.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"hunter22", "hunter33", "aB3dE5gHaB3dE5gH", "AB3DAB3DAB3D"} {
		if strings.Contains(out+string(log)+string(text), secret) {
			t.Errorf("the secret %s is told", secret)
		}
	}
	if said, err := m.Run(t.Context(), "sudo test ! -e /run/strongroom-activation/armed && echo open", ""); err != nil || said != "open" {
		t.Errorf("afterwards: %q, %v", said, err)
	}
}

// A must control that cannot hold fails the build by its name, and the machine lets its user in as before, after a reboot too.
func TestFailingControlLeavesTheMachineOpen(t *testing.T) {
	w := setUp(t)
	m, image, proxy := plainMachine(t, "trixie", plain.AskPassword)
	controls := filepath.Join(t.TempDir(), "site.yaml")
	if err := os.WriteFile(controls, []byte(`family: site-test
controls:
  - id: site-motd-absent
    title: There is no message of the day
    severity: must
    stage: boot
    refs: ["TEST 1"]
    rationale: It greets nobody.
    fix: remove it
    resources:
      - absent: {path: /etc/issue}
`), 0o644); err != nil {
		t.Fatal(err)
	}
	_, out, code := w.harden(t, m, image, proxy, fmt.Sprintf("site_controls = [%q]\n    execute_command = \"echo '%s' | sudo -S env {{ .Vars }} sh {{ .Path }}\"", controls, plain.SudoPassword))
	if code == 0 || !strings.Contains(out, "site-motd-absent (fail)") || !strings.Contains(out, "its activation is not armed") {
		t.Errorf("packer build ended with %d", code)
	}
	// So that the test can order the reboot.
	if _, err := m.Run(t.Context(), "sudo -S sh -c 'echo \""+plain.User+" ALL=(ALL) NOPASSWD: ALL\" >/etc/sudoers.d/91-test'", plain.SudoPassword+"\n"); err != nil {
		t.Fatal(err)
	}
	if err := m.Reboot(t.Context()); err != nil {
		t.Fatalf("the machine does not come back: %v", err)
	}
	if got, err := m.Run(t.Context(), "systemctl is-active ssh.service; id -un", ""); err != nil || got != "active\n"+plain.User {
		t.Errorf("%q, %v", got, err)
	}
}
