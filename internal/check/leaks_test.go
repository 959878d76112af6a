package check_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host/hosttest"
)

// Each of these is left on a machine by somebody, one at a time. The control fails and names the path, the reason is its title
// or stands before the path, and the secret is nowhere in the report.
func TestSecretsLeftOnTheDiskFailTheBuild(t *testing.T) {
	key := "-----BEGIN OPENSSH PRIVATE" + " KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAE\n-----END OPENSSH PRIVATE" + " KEY-----\n"
	pem := strings.ReplaceAll(key, "OPENSSH", "RSA")
	token := "hvs" + "." + strings.Repeat("aB3dE5gH", 3)
	const user = "/home/build"
	for _, planted := range []struct{ path, content, control, want string }{
		{user + "/.ssh/id_ed25519", key, "leaked-secrets-absent", "a private key (PEM) in /home/build/.ssh/id_ed25519"},
		{user + "/.ssh/id_ed25519", key, "home-credentials-absent", "/home/build/.ssh/id_ed25519"},
		{"/etc/ssl/private/site.key", pem, "leaked-secrets-absent", "a private key (PEM) in /etc/ssl/private/site.key"},
		{"/etc/ssh/ssh_host_ed25519_key", key, "leaked-secrets-absent", "a private key (PEM) in /etc/ssh/ssh_host_ed25519_key"},
		{"/root/.vault-token", token, "leaked-secrets-absent", "a token of Vault or OpenBao in /root/.vault-token"},
		{"/root/.vault-token", "s.0123456789", "shell-history-absent", "/root/.vault-token"},
		{"/root/.aws/credentials", "[default]\naws_access_key_id = AK" + "IA" + strings.Repeat("AB3D", 4) + "\n", "leaked-secrets-absent", "an access key of AWS in /root/.aws/credentials"},
		{"/root/.aws/credentials", "", "home-credentials-absent", "/root/.aws/credentials"},
		{"/root/.config/gcloud/access_tokens.db", "x", "home-credentials-absent", "/root/.config/gcloud/access_tokens.db"},
		{"/root/.bash_history", "ls\n", "shell-history-absent", "/root/.bash_history"},
		{"/root/.bash_history", "export DB_PASSWORD=hunter22\n", "leaked-secrets-absent", "a value of DB_PASSWORD in /root/.bash_history"},
		{"/var/lib/cloud/instances/i-0/user-data.txt", "#cloud-config\npassword: hunter22\n", "leaked-secrets-absent", "a value of password in /var/lib/cloud/instances/i-0/user-data.txt"},
		{"/var/log/setup.log", "got " + token + "\n", "leaked-secrets-absent", "a token of Vault or OpenBao in /var/log/setup.log"},
		{"/opt/app/.env", "API_KEY=hunter22\n", "leaked-secrets-absent", "a value of API_KEY in /opt/app/.env"},
		{"/tmp/key.pem", pem, "leaked-secrets-absent", "a private key (PEM) in /tmp/key.pem"},
		{"/run/strongroom-before/home/build/.netrc", "machine x password hunter22 https://me:hunter22@x.example", "leaked-secrets-absent", "a password in a URL in /home/build/.netrc, which the shutdown removes too late"},
	} {
		for _, layout := range []string{"sealed", "installed"} {
			p := checktest.Profile()
			p.Layout = layout
			b := checktest.Compile(t, p)
			r := run(t, b, checktest.Tree(t, b).File(planted.path, planted.content), control.StageImage)
			if r.Verdict != check.Fail {
				t.Errorf("%s with %s: verdict %s", layout, planted.path, r.Verdict)
			}
			got := ""
			for _, c := range r.Controls {
				for _, o := range c.Observations {
					if c.Control.ID == planted.control && o.Outcome == control.Fail {
						got += o.Got + "\n"
					}
					if said := fmt.Sprint(o.Got, o.Want, o.Source, o.Err); strings.Contains(said, "hunter22") || strings.Contains(said, token) || strings.Contains(said, "b3BlbnNza") {
						t.Errorf("%s with %s: the report tells the secret: %s", layout, planted.path, said)
					}
				}
			}
			if !strings.Contains(got, planted.want) {
				t.Errorf("%s with %s: %s says %q, want %q", layout, planted.path, planted.control, got, planted.want)
			}
		}
	}
}

// A build that goes as builds go leaves a public key for its user, which the shutdown removes, and no secret.
func TestABuildsOwnKeyIsNoLeak(t *testing.T) {
	b := checktest.Compile(t, checktest.Profile())
	const before = "/run/strongroom-before"
	tree := func() *hosttest.Host {
		return checktest.Tree(t, b).File(before+"/home/build/.ssh/authorized_keys", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ packer\n").
			File(before+"/var/lib/cloud/instances/i-0/user-data.txt", "#cloud-config\nssh_authorized_keys:\n  - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ packer\n").
			File(before+"/home/build/.bashrc", "alias ls='ls --color=auto'\n")
	}
	if r := run(t, b, tree(), control.StageImage); r.Verdict != check.Pass {
		t.Errorf("verdict %s\n%s", r.Verdict, complain(r))
	}
}
