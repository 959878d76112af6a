package resource_test

import (
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/host/hosttest"
	"github.com/strongroom/strongroom/internal/resource"
)

const policyText = "profile vault /usr/bin/vault {\n  /usr/bin/vault mr,\n}\n"

func policy() *resource.AppArmorProfile {
	return &resource.AppArmorProfile{Name: "vault", Source: policyText}
}

// confining is a host whose kernel enforces the profile.
func confining(p *resource.AppArmorProfile) *hosttest.Host {
	const compiled = "compiled"
	return hosttest.New().File(p.Policy(), compiled).File("/sys/kernel/security/lsm", "lockdown,capability,apparmor,bpf").
		SetAppArmor(host.AppArmorProfile{Name: "vault", Mode: "enforce", Digest: fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(compiled)))})
}

func TestAppArmorProfile(t *testing.T) {
	p := policy()
	loaded := func(mode, digest string) *hosttest.Host {
		return confining(p).SetAppArmor(host.AppArmorProfile{Name: "vault", Mode: mode, Digest: digest})
	}
	sha1Digest := fmt.Sprintf("sha1:%x", sha1.Sum([]byte("compiled")))
	for name, c := range map[string]struct {
		h    *hosttest.Host
		want control.Outcome
		text string
	}{
		"enforced":                   {confining(p), control.Pass, ""},
		"of a kernel before 6.8":     {loaded("enforce", sha1Digest), control.Pass, ""},
		"complains":                  {loaded("complain", sha1Digest), control.Fail, "got complain"},
		"another policy":             {loaded("enforce", "sha256:00"), control.Fail, "got sha256:00"},
		"no digest":                  {loaded("enforce", ""), control.Unknown, "keeps no digest"},
		"not loaded":                 {confining(p).SetAppArmor(host.AppArmorProfile{Name: "other", Mode: "enforce"}), control.Fail, "not loaded"},
		"not listed":                 {confining(p).FailFact("AppArmor", errDenied), control.Unknown, "permission denied"},
		"a kernel without AppArmor":  {confining(p).FailFact("AppArmor", fs.ErrNotExist), control.Fail, "got absent"},
		"another security module":    {confining(p).File("/sys/kernel/security/lsm", "lockdown,selinux\n"), control.Fail, "contains apparmor"},
		"unreadable list of modules": {confining(p).FailFile("/sys/kernel/security/lsm", errDenied), control.Unknown, "permission denied"},
		"never compiled":             {confining(p).Remove(p.Policy()), control.Fail, "got absent"},
		"compiled to nothing":        {confining(p).File(p.Policy(), ""), control.Fail, "compiled"},
		"policy for all to write":    {confining(p).Chmod(p.Policy(), 0o666), control.Fail, "0666"},
		"policy is a link":           {confining(p).Symlink(p.Policy(), "/tmp/x"), control.Unknown, "not a regular file"},
	} {
		t.Run(name, func(t *testing.T) { expect(t, p, c.h, c.want, c.text) })
	}
	if got := control.Worst(p.Verify(t.Context(), confining(p), control.StageImage)); got != control.Pass {
		t.Errorf("at stage image: %s", got)
	}
	if got := control.Worst(p.Verify(t.Context(), confining(p).Remove(p.Policy()), control.StageImage)); got != control.Fail {
		t.Errorf("never compiled, at stage image: %s", got)
	}
	fragments, err := p.Render(control.Profile{})
	if err != nil || len(fragments) != 2 || string(fragments[0].Content) != policyText {
		t.Fatalf("%+v, %v", fragments, err)
	}
	// The three names are one: text, policy, and the unit that loads it.
	stem := strings.TrimSuffix(p.Policy(), ".policy")
	if fragments[0].Path != stem+".profile" || !strings.HasSuffix(fragments[1].Path, "@"+strings.TrimPrefix(stem, resource.AppArmorDir+"/")+".service") {
		t.Errorf("policy %s, text %s, unit %s", p.Policy(), fragments[0].Path, fragments[1].Path)
	}
	other := policy()
	other.Source = strings.Replace(policyText, "mr", "r", 1)
	if other.Policy() == p.Policy() {
		t.Error("another text has the same policy")
	}
}

func TestAppArmorProfileRefusesNonsense(t *testing.T) {
	for name, source := range map[string]string{
		"another name":  "profile openbao /usr/bin/vault {\n}\n",
		"none":          "/usr/bin/vault {\n}\n",
		"two":           policyText + policyText,
		"complains":     "profile vault /usr/bin/vault flags=(attach_disconnected,complain) {\n}\n",
		"unconfined":    "profile vault /usr/bin/vault flags=(unconfined) {\n}\n",
		"an include":    "profile vault /usr/bin/vault {\n  include <abstractions/base>\n}\n",
		"old include":   "#include <tunables/global>\n" + policyText,
		"a foreign abi": "abi <abi/4.0>,\n" + policyText,
	} {
		if err := (&resource.AppArmorProfile{Name: "vault", Source: source}).Validate(); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if err := policy().Validate(); err != nil {
		t.Error(err)
	}
}

func serviceWith(label string) *hosttest.Host {
	return hosttest.New().SetUnit(host.Unit{Name: "vault.service", ActiveState: "active", Properties: map[string]string{"MainPID": "7"}}).
		File("/proc/7/attr/current", label).File("/proc/self/attr/current", label)
}

func TestAppArmorProcess(t *testing.T) {
	p := &resource.AppArmorProcess{Unit: "vault.service", Profile: "vault"}
	self := &resource.AppArmorProcess{Unit: "self", Profile: "vault"}
	expect(t, p, serviceWith("vault (enforce)\n"), control.Pass, "")
	expect(t, self, serviceWith("vault (enforce)\n"), control.Pass, "")
	expect(t, p, serviceWith("vault (complain)\n"), control.Fail, "got vault (complain)")
	expect(t, p, serviceWith("unconfined\n"), control.Fail, "got unconfined")
	expect(t, self, serviceWith("unconfined\n"), control.Fail, "/proc/self")
	expect(t, p, serviceWith("").Remove("/proc/7"), control.Fail, "absent")
	expect(t, p, serviceWith("").FailFile("/proc/7/attr/current", errDenied), control.Unknown, "permission denied")
	expect(t, p, hosttest.New().SetUnit(host.Unit{Name: "vault.service", ActiveState: "failed", Properties: map[string]string{"MainPID": "0"}}), control.Fail, "failed")
	expect(t, p, hosttest.New().FailFact("Unit", errDenied), control.Unknown, "permission denied")
	for _, bad := range []*resource.AppArmorProcess{{Unit: "vault", Profile: "vault"}, {Unit: "vault.service"}, {Unit: "self", Profile: "a b"}} {
		if bad.Validate() == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}

func TestSELinux(t *testing.T) {
	s := &resource.SELinux{Unit: "vault.service", Domain: "vault_t"}
	// As Fedora writes them: no line feed, and a zero byte at the end of a context.
	enforcing := func(label string) *hosttest.Host {
		return serviceWith(label).File("/sys/kernel/security/lsm", "lockdown,capability,yama,selinux,bpf,landlock").File("/sys/fs/selinux/enforce", "1")
	}
	const confined = "system_u:system_r:vault_t:s0\x00"
	expect(t, s, enforcing(confined), control.Pass, "")
	expect(t, s, enforcing("system_u:system_r:vault_t:s0-s0:c0.c1023\x00"), control.Pass, "")
	expect(t, s, enforcing("system_u:system_r:unconfined_service_t:s0\x00"), control.Fail, "unconfined_service_t")
	expect(t, s, enforcing("vault_t\x00"), control.Fail, "vault_t")
	expect(t, s, enforcing(confined).File("/sys/fs/selinux/enforce", "0"), control.Fail, "want 1, got 0")
	expect(t, s, enforcing(confined).Remove("/sys/fs/selinux/enforce"), control.Fail, "absent")
	expect(t, s, enforcing(confined).FailFile("/sys/fs/selinux/enforce", errDenied), control.Unknown, "permission denied")
	expect(t, s, enforcing(confined).File("/sys/kernel/security/lsm", "apparmor"), control.Fail, "contains selinux")
	// Without a unit the kernel alone is judged.
	kernel := &resource.SELinux{}
	expect(t, kernel, enforcing(""), control.Pass, "")
	expect(t, kernel, enforcing("").File("/sys/fs/selinux/enforce", "0"), control.Fail, "want 1, got 0")
	expect(t, kernel, enforcing("").File("/sys/kernel/security/lsm", "apparmor"), control.Fail, "contains selinux")
	if err := kernel.Validate(); err != nil {
		t.Error(err)
	}
	for _, bad := range []*resource.SELinux{{Unit: "vault.service"}, {Domain: "vault_t"}, {Unit: "vault", Domain: "vault_t"}, {Unit: "vault.service", Domain: "unconfined_service_t"}, {Unit: "vault.service", Domain: "vault"}} {
		if bad.Validate() == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}
