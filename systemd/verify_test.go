package systemd_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/control"
)

// verify gives what `systemd-analyze verify` has to say about units of ours, and apart from it about
// the distribution's.
func (r root) verify(t *testing.T, units ...string) (ours, others []string) {
	t.Helper()
	args := append([]string{"verify", "--root=" + r.dir, "--man=no", "--generators=no", "--recursive-errors=yes"}, units...)
	stdout, stderr, err := run(t, "systemd-analyze", args...)
	for line := range strings.Lines(stdout + stderr) {
		line = strings.TrimSpace(line)
		if slices.ContainsFunc(units, func(u string) bool { return strings.Contains(line, u) }) {
			ours = append(ours, line)
		} else {
			others = append(others, line)
		}
	}
	if err != nil && len(ours)+len(others) == 0 {
		t.Fatalf("systemd-analyze %s: %v, and not a word why", strings.Join(args, " "), err)
	}
	return ours, others
}

func TestUnitsLoadWithoutComplaint(t *testing.T) {
	locked := checktest.Profile()
	locked.Parameters = map[string]string{"memory_lock": "on"}
	installed := checktest.Profile()
	installed.Layout = "installed"
	encrypted, encryptedBao := checktest.Profile(), checktest.OpenBaoProfile()
	encrypted.Parameters = map[string]string{"data_encryption": "tpm"}
	encryptedBao.Parameters = map[string]string{"data_encryption": "tpm"}
	for name, p := range map[string]control.Profile{
		"vault": checktest.Profile(), "vault memory_lock=on": locked, "openbao": checktest.OpenBaoProfile(), "vault installed": installed, "vault log_shipping=journal-upload": ships(),
		"vault data_encryption=tpm": encrypted, "openbao data_encryption=tpm": encryptedBao,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRootOf(t, p)
			r.addDistribution(t)
			units := r.units()
			for _, name := range []string{p.Server + ".service", "hostcheck.service", "hostcheck-gate.service", "hostcheck-configure.service", "var-lib-" + p.Server + ".mount"} {
				if !slices.Contains(units, name) {
					t.Fatalf("%s is not among the units of the overlay: %q", name, units)
				}
			}
			ours, others := r.verify(t, units...)
			for _, line := range ours {
				t.Error(line)
			}
			for _, line := range others {
				t.Log("of the distribution: " + line)
			}
		})
	}
}

// The test above is worth something only if a mistake in a unit of ours is heard of.
func TestVerifyHearsOfMistakes(t *testing.T) {
	const dropIn = "/usr/lib/systemd/system/vault.service.d/60-mistake.conf"
	for name, break_ := range map[string]func(*testing.T, root){
		"an unknown setting": func(t *testing.T, r root) { r.write(t, dropIn, "[Service]\nProtectSytem=strict\n", 0o644) },
		"an unknown value":   func(t *testing.T, r root) { r.write(t, dropIn, "[Service]\nProtectSystem=strictly\n", 0o644) },
		"an unknown call":    func(t *testing.T, r root) { r.write(t, dropIn, "[Service]\nSystemCallFilter=@servce\n", 0o644) },
		"a wrong section":    func(t *testing.T, r root) { r.write(t, dropIn, "[Unit]\nUser=vault\n", 0o644) },
		"an ordering cycle": func(t *testing.T, r root) {
			r.write(t, "/usr/lib/systemd/system/hostcheck-gate.service.d/60-mistake.conf", "[Unit]\nAfter=vault.service\nRequires=vault.service\n", 0o644)
		},
		"no such program": func(t *testing.T, r root) {
			if err := os.Remove(r.at("/usr/bin/vault")); err != nil {
				t.Fatal(err)
			}
		},
		"a mount unit with the name of another": func(t *testing.T, r root) {
			r.write(t, "/usr/lib/systemd/system/vault.service.d/60-mistake.conf", "[Unit]\nRequires=srv.mount\n", 0o644)
			r.write(t, "/usr/lib/systemd/system/var-lib-vault.mount", "[Mount]\nWhat=tmpfs\nWhere=/srv\nType=tmpfs\n", 0o644)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoot(t, "off")
			r.addDistribution(t)
			break_(t, r)
			if ours, _ := r.verify(t, r.units()...); len(ours) == 0 {
				t.Error("systemd-analyze verify says nothing")
			}
		})
	}
}
