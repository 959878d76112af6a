package resource_test

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/host/hosttest"
	"github.com/strongroom/strongroom/internal/resource"
)

// plantedKey looks like a private key to whoever looks for one.
const plantedKey = "-----BEGIN OPENSSH PRIVATE" + " KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAE\n-----END OPENSSH PRIVATE" + " KEY-----\n"

func TestLeakedSecrets(t *testing.T) {
	r := &resource.LeakedSecrets{
		Places: []string{"/etc", "/home", "/root", "/var"}, PassedOver: []string{"/var/cache"}, Allowed: []string{"/etc/allowed.key"}, Before: "/run/before",
		Named: []string{"/etc/environment", "/var/lib/cloud/instances/*/user-data.txt*", ".bash_history", "*.env"},
	}
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	token := "hvs" + "." + strings.Repeat("aB3dE5gH", 3)
	node := func() *hosttest.Host {
		return hosttest.New().File("/etc/passwd", "root:x:0:0::/root:/bin/sh\nd:x:1:1::/:/bin/sh\nb:x:2:2::/bin:/bin/sh\nv:x:3:3::/data/v:/bin/sh\n").
			File("/etc/environment", "PATH=/usr/bin\n").File("/etc/pam.d/login", "password: required\n").Directory("/root", 0o700).
			File("/bin/key", plantedKey).File("/usr/share/doc/key.pem", plantedKey).File("/var/cache/key", plantedKey).File("/etc/allowed.key", plantedKey).
			Symlink("/etc/link", "/usr/share/doc/key.pem").Special("/var/fifo", fs.ModeNamedPipe|0o600)
	}
	expectAt(t, r, node(), control.StageImage, control.Pass, "none in 4 files")
	for want, plant := range map[string]func(*hosttest.Host){
		"a private key (PEM) in /home/build/.ssh/id_ed25519": func(h *hosttest.Host) { h.File("/home/build/.ssh/id_ed25519", plantedKey) },
		"a private key (PEM) in /etc/ssl/private/x.pem":      func(h *hosttest.Host) { h.File("/etc/ssl/private/x.pem", plantedKey) },
		"a private key (PEM) in /data/v/key":                 func(h *hosttest.Host) { h.File("/data/v/key", plantedKey) },
		"a token of Vault or OpenBao in /root/.vault-token":  func(h *hosttest.Host) { h.File("/root/.vault-token", token) },
		"a token of Vault or OpenBao in /var/log/setup.log":  func(h *hosttest.Host) { h.File("/var/log/setup.log", "export VAULT_TOKEN="+token) },
		"a value of DB_PASSWORD in /etc/environment":         func(h *hosttest.Host) { h.File("/etc/environment", "DB_PASSWORD=hunter22") },
		"a value of password in /var/lib/cloud/instances/i-1/user-data.txt": func(h *hosttest.Host) {
			h.File("/var/lib/cloud/instances/i-1/user-data.txt", "#cloud-config\npassword: hunter22\n")
		},
		"a value of token in /root/.bash_history":                                     func(h *hosttest.Host) { h.File("/root/.bash_history", "curl -d token=abcdefgh x") },
		"a private key (PEM) in /home/build/key, which the shutdown removes too late": func(h *hosttest.Host) { h.File("/run/before/home/build/key", plantedKey) },
		"a value of password in /var/lib/cloud/instances/i-2/user-data.txt.i, which": func(h *hosttest.Host) {
			h.File("/run/before/var/lib/cloud/instances/i-2/user-data.txt.i", "password: hunter22")
		},
		"a value of SECRET in /var/app.env": func(h *hosttest.Host) { h.File("/var/app.env", "SECRET=hunter22") },
	} {
		h := node()
		plant(h)
		expectAt(t, r, h, control.StageImage, control.Fail, want)
		for _, o := range r.Verify(t.Context(), h, control.StageImage) {
			for _, secret := range []string{"hunter22", token, "b3BlbnNzaC1rZXkt"} {
				if strings.Contains(o.Got+o.Want+o.Source, secret) {
					t.Errorf("the observation tells the secret: %+v", o)
				}
			}
		}
	}
	// Names are believed only where they are asked for.
	expectAt(t, r, node().File("/etc/other", "DB_PASSWORD=hunter22"), control.StageImage, control.Pass, "none")
	expectAt(t, r, node().FailFile("/etc/environment", errDenied), control.StageImage, control.Unknown, "permission denied")
	expectAt(t, r, node().FailFile("/var", errDenied), control.StageImage, control.Unknown, "permission denied")
	expectAt(t, r, node().FailFile("/etc/environment", host.ErrTooLarge), control.StageImage, control.Unknown, "too large")
	expectAt(t, r, node().Remove("/etc/passwd"), control.StageImage, control.Unknown, "/etc/passwd")
	expect(t, r, node(), control.NotApplicable, "judged when the image was made")
}

func TestLeakedSecretsStopAtABound(t *testing.T) {
	r := &resource.LeakedSecrets{Places: []string{"/var"}, Named: []string{".env"}}
	huge := host.Tapped(hosttest.New().File("/etc/passwd", "").File("/var/a", "x").File("/var/b", plantedKey), func(method, argument string, value any, err error) (any, error) {
		if info, ok := value.(host.FileInfo); ok && argument == "/var/a" && method == "Lstat" {
			info.Size = 3 << 30
			return info, err
		}
		return value, err
	})
	expectAt(t, r, huge, control.StageImage, control.Unknown, "not all were looked at")
}

func TestValidateRefusesNonsenseAboutLeaks(t *testing.T) {
	for want, r := range map[string]*resource.LeakedSecrets{
		"no places":    {},
		`path "etc"`:   {Places: []string{"etc"}},
		`path "/"`:     {Places: []string{"/"}},
		`path "/a/"`:   {Places: []string{"/a"}, Allowed: []string{"/a/"}},
		`before "x"`:   {Places: []string{"/a"}, Before: "x"},
		`named "a/b"`:  {Places: []string{"/a"}, Named: []string{"a/b"}},
		`named "/a["`:  {Places: []string{"/a"}, Named: []string{"/a["}},
		`path "../x"`:  {Places: []string{"/a"}, PassedOver: []string{"../x"}},
		`named ""`:     {Places: []string{"/a"}, Named: []string{""}},
		`path "/a//b"`: {Places: []string{"/a//b"}},
	} {
		if err := r.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
