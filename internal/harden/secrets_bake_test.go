//go:build bake

package harden

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/report"
)

// plant leaves on a machine what people and builds leave.
const plant = `set -eu
mkdir -p /home/build/.ssh && ssh-keygen -q -t ed25519 -N '' -f /home/build/.ssh/id_ed25519
ssh-keygen -q -t ecdsa -m PEM -N '' -f /etc/ssl/private/site.pem
printf 'hv''s.aB3dE5gHaB3dE5gHaB3dE5gH' >/root/.vault-token
mkdir -p /root/.aws && printf '[default]\naws_access_key_id = AK''IAAB3DAB3DAB3DAB3D\n' >/root/.aws/credentials
echo 'export DB_PASSWORD=hunter22' >/root/.bash_history
mkdir -p /var/lib/cloud/instances/i-0 && printf '#cloud-config\npassword: hunter33\n' >/var/lib/cloud/instances/i-0/user-data.txt
echo 'deb https://bot:hunter44@archive.example.net/ stable main' >/tmp/sources.list
`

// planted is what is said of it, by control. What the shutdown removes is found as well.
var planted = map[string][]string{
	"leaked-secrets-absent": {
		"a private key (PEM) in /home/build/.ssh/id_ed25519",
		"a private key (PEM) in /etc/ssl/private/site.pem",
		"a token of Vault or OpenBao in /root/.vault-token",
		"an access key of AWS in /root/.aws/credentials",
		"a value of DB_PASSWORD in /root/.bash_history",
		"a value of password in /var/lib/cloud/instances/i-0/user-data.txt, which the shutdown removes too late",
		"a password in a URL in /tmp/sources.list, which the shutdown removes too late",
	},
	"home-credentials-absent": {"/root/.aws/credentials"},
	"shell-history-absent":    {"/root/.bash_history", "/root/.vault-token"},
}

// failing are the must controls of a report that do not hold, with what was seen.
func failing(text []byte) (map[string]string, error) {
	document, err := report.ReadJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, c := range document.Controls {
		for _, o := range c.Observations {
			if c.Severity == control.Must && slices.Contains([]control.Outcome{control.Fail, control.Unknown}, o.Outcome) {
				out[c.ID] += o.Got + o.Error + "\n"
			}
		}
	}
	return out, nil
}

// Secrets on the machine fail the run, each with its place, and a run that failed arms nothing. A machine without them has none.
func TestSecretsOnTheMachine(t *testing.T) {
	m := newRootTree(t)
	s := spec(t)
	var found map[string]string
	var last []byte
	refuse := errors.New("refused")
	judge := func(text []byte) (err error) {
		last = text
		if found, err = failing(text); err == nil && len(found) > 0 {
			err = refuse
		}
		return err
	}
	if _, err := Harden(t.Context(), m, s, judge); err != nil && !errors.Is(err, refuse) {
		t.Fatal(err)
	}
	for id := range planted {
		if got, bad := found[id]; bad {
			t.Errorf("without secrets %s says %q", id, got)
		}
	}
	m.sh(t, plant)
	_, err := Harden(t.Context(), m, s, judge)
	if !errors.Is(err, refuse) {
		t.Fatalf("with secrets: %v", err)
	}
	for id, wants := range planted {
		for _, want := range wants {
			if !strings.Contains(found[id], want) {
				t.Errorf("%s says %q, want %q", id, found[id], want)
			}
		}
	}
	for _, secret := range []string{"hunter22", "hunter33", "hunter44", "aB3dE5gHaB3dE5gH", "AB3DAB3DAB3D"} {
		if bytes.Contains(last, []byte(secret)) {
			t.Errorf("the report tells the secret %s", secret)
		}
	}
	// The activation is not armed, and what was rehearsed has not happened.
	m.sh(t, "test ! -e "+armedDir+" && test -e /home/build/.ssh/id_ed25519 && test -e /var/lib/cloud/instances/i-0/user-data.txt && test -x /usr/sbin/sshd")
}
