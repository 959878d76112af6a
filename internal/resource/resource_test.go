package resource_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
	"github.com/strongroom/strongroom/internal/resource"
)

var errDenied = errors.New("permission denied")

// judge verifies a resource and folds what it saw.
func judge(t *testing.T, r control.Resource, h host.Host, stage control.Stage) (control.Outcome, string) {
	t.Helper()
	obs := r.Verify(t.Context(), h, stage)
	var b strings.Builder
	for _, o := range obs {
		fmt.Fprintf(&b, "%s: %s: want %s, got %s", o.Outcome, o.Source, o.Want, o.Got)
		if o.Err != nil {
			b.WriteString(": " + o.Err.Error())
		}
		b.WriteString("\n")
		if o.Resource != r.Key() {
			t.Errorf("an observation of %s, not of %s", o.Resource, r.Key())
		}
		if o.Source == "" || o.Want == "" && o.Outcome == control.Unknown {
			t.Errorf("an observation that does not say what was looked at: %+v", o)
		}
		if (o.Outcome == control.Unknown) != (o.Err != nil) {
			t.Errorf("an error and unknown go together: %+v", o)
		}
	}
	return control.Worst(obs), b.String()
}

// expect verifies a resource on a running host, and that text is part of what the report says.
func expect(t *testing.T, r control.Resource, h host.Host, want control.Outcome, text string) {
	t.Helper()
	expectAt(t, r, h, control.StageBoot, want, text)
}

func expectAt(t *testing.T, r control.Resource, h host.Host, stage control.Stage, want control.Outcome, text string) {
	t.Helper()
	got, said := judge(t, r, h, stage)
	if got != want || !strings.Contains(said, text) {
		t.Errorf("%s is %s, want %s with %q:\n%s", r.Key(), got, want, text, said)
	}
}

// A resource that makes no sense is refused, in words that name the field.
func TestValidateRefusesNonsense(t *testing.T) {
	for _, c := range []struct {
		res  control.Resource
		want string // "" when it makes sense
	}{
		{&resource.Sysctl{Name: "kernel.kptr_restrict", Value: "2"}, ""},
		{&resource.Sysctl{Name: "net.ipv4.conf.all.rp_filter", Value: "1"}, ""},
		{&resource.Sysctl{Name: "kernel", Value: "2"}, `name "kernel"`},
		{&resource.Sysctl{Name: "kernel/sysrq", Value: "2"}, `name "kernel/sysrq"`},
		{&resource.Sysctl{Name: "net.ipv4.conf.*.rp_filter", Value: "1"}, "name"},
		{&resource.Sysctl{Name: "kernel.sysrq"}, `value ""`},
		{&resource.Sysctl{Name: "kernel.sysrq", Value: "0\nkernel.x = 1"}, "value"},
		{&resource.Sysctl{Name: "kernel.printk", Value: "3\t4"}, "value"},

		{&resource.InterfaceSysctl{Family: "ipv4", Name: "rp_filter", Value: "1"}, ""},
		{&resource.InterfaceSysctl{Family: "inet", Name: "rp_filter", Value: "1"}, `family "inet"`},
		{&resource.InterfaceSysctl{Family: "ipv4", Name: "all.rp_filter", Value: "1"}, `name "all.rp_filter"`},
		{&resource.InterfaceSysctl{Family: "ipv4", Name: "rp_filter"}, `value ""`},

		{&resource.KernelFact{Path: "/sys/power/state", Lacks: []string{"disk"}}, ""},
		{&resource.KernelFact{Path: "/proc/net/ip_tables_names", Empty: true}, ""},
		{&resource.KernelFact{Path: "/etc/passwd", Is: "1"}, `path "/etc/passwd"`},
		{&resource.KernelFact{Path: "/sys/../etc/passwd", Is: "1"}, "path"},
		{&resource.KernelFact{Path: "/sys/x"}, "exactly one"},
		{&resource.KernelFact{Path: "/sys/x", Is: "1", Empty: true}, "exactly one"},
		{&resource.KernelFact{Path: "/sys/x", Is: "1\n"}, "white space"},
		{&resource.KernelFact{Path: "/sys/x", Lacks: []string{"["}}, `lacks "["`},
		{&resource.KernelFact{Path: "/sys/x", Has: []string{""}}, "empty word"},

		{&resource.KernelArgumentsAbsent{Name: "weakening", Words: []string{"nokaslr", "mds=*off*"}}, ""},
		{&resource.KernelArgumentsAbsent{Name: "A b", Words: []string{"nokaslr"}}, `name "A b"`},
		{&resource.KernelArgumentsAbsent{Name: "a"}, "no words"},
		{&resource.KernelArgumentsAbsent{Name: "a", Words: []string{"a b"}}, `word "a b"`},
		{&resource.KernelArgumentsAbsent{Name: "a", Words: []string{"["}}, `word "["`},

		{&resource.CPUVulnerabilities{}, ""},

		{&resource.Swap{}, ""},

		{&resource.File{Path: "/a", Mode: "0644"}, ""},
		{&resource.File{Path: "/a", Target: "b"}, ""},
		{&resource.File{Path: "a", Mode: "0644"}, `path "a"`},
		{&resource.File{Path: "/a/../b", Mode: "0644"}, "path"},
		{&resource.File{Path: "/a", Mode: "0999"}, `mode "0999"`},
		{&resource.File{Path: "/a"}, `mode ""`},
		{&resource.File{Path: "/a", Mode: "4755"}, `mode "4755"`},
		{&resource.File{Path: "/a", Mode: "0644", UID: -1}, "uid -1"},
		{&resource.File{Path: "/a", Mode: "0644", Content: "x", Target: "y"}, "content and target"},
		{&resource.File{Path: "/a", Mode: "0644", Content: "x", Runtime: true}, "runtime"},

		{&resource.WriteProtected{Path: "/usr/bin/vault"}, ""},
		{&resource.WriteProtected{Path: "/usr/../bin"}, `path "/usr/../bin"`},
		{&resource.WriteProtected{Path: "bin"}, `path "bin"`},

		{&resource.Absent{Path: "/usr/sbin/sshd"}, ""},
		{&resource.Absent{Path: "/"}, `path "/"`},
		{&resource.Absent{Path: "sshd"}, `path "sshd"`},

		{&resource.Mounts{Name: "known", Writable: true, Only: []string{"/data"}}, ""},
		{&resource.Mounts{Name: "Known", Writable: true, Only: []string{"/data"}}, `name "Known"`},
		{&resource.Mounts{Name: "a", Only: []string{"/data"}}, "must choose mounts"},
		{&resource.Mounts{Name: "a", Writable: true}, "nothing is stated"},
		{&resource.Mounts{Name: "a", Writable: true, Only: []string{"data"}}, `path "data"`},
		{&resource.Mounts{Name: "a", Writable: true, Only: []string{"/["}}, `path "/["`},
		{&resource.Mounts{Name: "a", Writable: true, Options: []string{"nosuid,nodev"}}, "option"},
		{&resource.Mounts{Name: "a", Writable: true, Only: []string{"/a"}, Except: []string{"/a"}}, "except needs options"},
		{&resource.Mounts{Name: "a", Writable: true, Apart: true}, "are about points"},

		{&resource.RootTree{Forbid: "set-id"}, ""},
		{&resource.RootTree{Forbid: "setuid"}, `forbid "setuid"`},
		{&resource.ProgramsAbsent{Name: "debuggers", Programs: []string{"gdb*"}}, ""},
		{&resource.ProgramsAbsent{Name: "a b", Programs: []string{"gdb*"}}, `name "a b"`},
		{&resource.ProgramsAbsent{Name: "a"}, "no programs"},
		{&resource.ProgramsAbsent{Name: "a", Programs: []string{"bin/gdb"}}, `program "bin/gdb"`},
		{&resource.AccountsKnown{Users: []string{"root"}}, ""},
		{&resource.AccountsKnown{}, "no users"},
		{&resource.AccountsKnown{Users: []string{"*"}}, `name "*"`},
		{&resource.Pristine{Path: "/etc/machine-id"}, ""},
		{&resource.Pristine{Path: "etc"}, `path "etc"`},
		{&resource.Pristine{Path: "/etc", Names: []string{"a/b"}}, `name "a/b"`},
		{&resource.OSRelease{}, ""},

		{&resource.Mount{Point: "/", Verity: true}, ""},
		{&resource.Mount{Point: "/var", What: "/dev/x", FSType: "ext4", After: []string{"systemd-repart.service"}}, ""},
		{&resource.Mount{Point: "var", Verity: true}, `point "var"`},
		{&resource.Mount{Point: "/var"}, "nothing is stated about /var"},
		{&resource.Mount{Point: "/var", What: "/dev/x"}, "fstype"},
		{&resource.Mount{Point: "/var", What: "/var", Bind: true, Options: []string{"nodev"}}, ""},
		{&resource.Mount{Point: "/var", What: "/var", Bind: true, FSType: "ext4"}, "needs its fstype, or bind"},
		{&resource.Mount{Point: "/var", What: "UUID=1", Bind: true, Options: []string{"nodev"}}, "bind needs the directory"},
		{&resource.Mount{Point: "/my-var", What: "/dev/x", FSType: "ext4"}, `point "/my-var"`},
		{&resource.Mount{Point: "/", What: "/dev/x", FSType: "ext4"}, `point "/"`},
		{&resource.Mount{Point: "/var", What: "/dev/x\nType=tmpfs", FSType: "ext4"}, "what"},
		{&resource.Mount{Point: "/var", FSType: "ext4", After: []string{"x.service"}}, "after needs what"},
		{&resource.Mount{Point: "/var", FSType: "ext4", Settings: []string{"size=1m"}}, "settings need what"},
		{&resource.Mount{Point: "/var", What: "/dev/x", FSType: "ext4", After: []string{"repart"}}, `after "repart"`},
		{&resource.Mount{Point: "/var", What: "/dev/x", FSType: "ext4", Requires: []string{"open@x.service"}}, ""},
		{&resource.Mount{Point: "/var", What: "/dev/x", FSType: "ext4", Requires: []string{"open"}}, `requires "open"`},
		{&resource.Mount{Point: "/var", FSType: "ext4", Requires: []string{"x.service"}}, "requires needs what"},
		{&resource.Mount{Point: "/var", What: "/dev/x", FSType: "ext4", Requires: []string{"x.service"}, After: []string{"x.service"}}, "leave out after"},
		{&resource.Mount{Point: "/var", Options: []string{"ro,nodev"}}, `option "ro,nodev"`},
		{&resource.Mount{Point: "/var", What: "tmpfs", FSType: "tmpfs", Settings: []string{"size=1m, mode=0"}}, "option"},

		{&resource.KernelArgument{Name: "lockdown", Value: "integrity"}, ""},
		{&resource.KernelArgument{Name: "a b"}, `name "a b"`},
		{&resource.KernelArgument{Name: "a", Value: "b c"}, `value "b c"`},
		{&resource.KernelArgument{Name: "a", Proof: &resource.KernelProof{Path: "/etc/x", Contains: "y"}}, `proof path "/etc/x"`},
		{&resource.KernelArgument{Name: "a", Proof: &resource.KernelProof{Path: "/sys/../etc/x", Contains: "y"}}, "proof path"},
		{&resource.KernelArgument{Name: "a", Proof: &resource.KernelProof{Path: "/sys/x"}}, "proof contains nothing"},

		{&resource.KernelModule{Name: "usb_storage", State: "blocked"}, ""},
		{&resource.KernelModule{Name: "usb-storage", State: "blocked"}, `name "usb-storage"`},
		{&resource.KernelModule{Name: "zram", State: "gone"}, `state "gone"`},

		{&resource.UnitState{Name: "getty@.service", State: "masked"}, ""},
		{&resource.UnitState{Name: "chrony", State: "active"}, `name "chrony"`},
		{&resource.UnitState{Name: "chrony.service", State: "enabled"}, `state "enabled"`},
		{&resource.UnitState{Name: "chrony.service", State: "masked", WantedBy: "multi-user.target"}, "wanted_by"},
		{&resource.UnitState{Name: "chrony.service", State: "active", WantedBy: "multi-user"}, `wanted_by "multi-user"`},

		{unitProperty("NoNewPrivileges", "yes"), ""},
		{&resource.UnitProperty{Unit: "vault", Name: "x", Section: "Service", Properties: map[string]string{"User": "a"}}, `unit "vault"`},
		{&resource.UnitProperty{Unit: "vault.service", Name: "X", Section: "Service", Properties: map[string]string{"User": "a"}}, `name "X"`},
		{&resource.UnitProperty{Unit: "vault.service", Name: "x", Section: "Install", Properties: map[string]string{"User": "a"}}, `section "Install"`},
		{&resource.UnitProperty{Unit: "vault.service", Name: "x", Section: "Service"}, "no properties"},
		{unitProperty("no-new-privs", "yes"), `property "no-new-privs"`},
		{unitProperty("User", "vault\nGroup=root"), "property User"},

		{&resource.Account{Name: "vault", UID: 800, Home: "/var/lib/vault"}, ""},
		{&resource.Account{Name: "*"}, ""},
		{&resource.Account{Name: "Vault", UID: 800, Home: "/x"}, `name "Vault"`},
		{&resource.Account{Name: "vault", Home: "/x"}, "uid 0"},
		{&resource.Account{Name: "vault", UID: 1000, Home: "/x"}, "uid 1000"},
		{&resource.Account{Name: "vault", UID: 800}, `home ""`},
		{&resource.Account{Name: "vault", UID: 800, Home: "/x", Description: "a:b"}, "description"},
		{&resource.Account{Name: "*", UID: 1}, "takes no fields"},

		{&resource.Listener{Allow: []string{"tcp/8200"}, Require: []string{"tcp/8200"}}, ""},
		{&resource.Listener{Allow: []string{"8200/tcp"}}, `"8200/tcp" is not protocol/port`},
		{&resource.Listener{Allow: []string{"tcp/65536"}}, `port of "tcp/65536"`},
		{&resource.Listener{Require: []string{"tcp/22"}}, `"tcp/22" is required but not allowed`},

		{&resource.Firewall{Sets: []string{"a"}, Outbound: []resource.Opening{{Peer: "a"}}}, ""},
		{&resource.Firewall{Inbound: []resource.Opening{{Protocol: "udp", Source: 67, Port: 68, Peer: "fe80::/10"}}}, ""},
		{&resource.Firewall{Sets: []string{"a4 "}}, `set name "a4 "`},
		{&resource.Firewall{Inbound: []resource.Opening{{Protocol: "sctp", Port: 1}}}, `protocol "sctp"`},
		{&resource.Firewall{Inbound: []resource.Opening{{Port: 22}}}, "protocol"},
		{&resource.Firewall{Inbound: []resource.Opening{{Protocol: "tcp"}}}, "port 0"},
		{&resource.Firewall{Inbound: []resource.Opening{{Protocol: "tcp", Port: 65536}}}, "port 65536"},
		{&resource.Firewall{Inbound: []resource.Opening{{Protocol: "tcp", Port: 1, Source: 70000}}}, "source port 70000"},
		{&resource.Firewall{Inbound: []resource.Opening{{Protocol: "tcp", Port: 1, Peer: "anyone"}}}, `peer "anyone"`},
		{&resource.Firewall{Inbound: []resource.Opening{{Protocol: "tcp", Port: 1, Peer: "fe80::1%eth0"}}}, "peer"},
		{&resource.Firewall{Inbound: []resource.Opening{{Protocol: "tcp", Port: 1, Peer: "::ffff:192.0.2.1"}}}, "peer"},

		{&resource.ProcessLimits{Unit: "vault.service", Name: "core", Limits: map[string]string{"core": "0", "memlock": "infinity"}}, ""},
		{&resource.ProcessLimits{Unit: "vault.socket", Name: "core", Confined: true}, `unit "vault.socket"`},
		{&resource.ProcessLimits{Unit: "vault.service", Name: "a b", Confined: true}, `name "a b"`},
		{&resource.ProcessLimits{Unit: "vault.service", Name: "core"}, "no limits"},
		{&resource.ProcessLimits{Unit: "vault.service", Name: "core", Limits: map[string]string{"cores": "0"}}, `limit "cores"`},
		{&resource.ProcessLimits{Unit: "vault.service", Name: "core", Limits: map[string]string{"core": "-1"}}, "limit core"},

		{&resource.VaultConfig{Path: "/run/vault/vault.hcl", Name: "tls", Forbid: []string{"listener.unix"}}, ""},
		{&resource.VaultConfig{Path: "vault.hcl", Name: "tls", Forbid: []string{"ui"}}, `path "vault.hcl"`},
		{&resource.VaultConfig{Path: "/v", Name: "T", Forbid: []string{"ui"}}, `name "T"`},
		{&resource.VaultConfig{Path: "/v", Name: "tls"}, "nothing is required or forbidden"},
		{&resource.VaultConfig{Path: "/v", Name: "tls", Forbid: []string{"Listener.Unix"}}, `setting "Listener.Unix"`},
		{&resource.VaultConfig{Path: "/v", Name: "tls", Require: map[string]string{"ui": "false"}, Forbid: []string{"ui"}}, "ui is both"},
	} {
		err := c.res.Validate()
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.res.Key(), err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v, want %q in it", c.res.Key(), err, c.want)
		}
	}
}

func TestRender(t *testing.T) {
	for _, c := range []struct {
		res  control.Resource
		want []overlay.Fragment
	}{
		{&resource.Sysctl{Name: "kernel.kptr_restrict", Value: "2"},
			[]overlay.Fragment{overlay.File("/usr/lib/sysctl.d/99-strongroom-kernel.kptr_restrict.conf", "kernel.kptr_restrict = 2\n")}},
		{&resource.Sysctl{Name: "a.b", Value: "0", Optional: true},
			[]overlay.Fragment{overlay.File("/usr/lib/sysctl.d/99-strongroom-a.b.conf", "-a.b = 0\n")}},
		{&resource.Swap{}, []overlay.Fragment{overlay.Symlink("/etc/systemd/system/swap.target", "/dev/null")}},
		{&resource.File{Path: "/etc/x", Mode: "0640", UID: 1, GID: 2, Content: "x\n"},
			[]overlay.Fragment{{Path: "/etc/x", Mode: 0o640, UID: 1, GID: 2, Content: []byte("x\n")}}},
		{&resource.File{Path: "/etc/x", Target: "../y"}, []overlay.Fragment{{Path: "/etc/x", Mode: fs.ModeSymlink | 0o777, Target: "../y"}}},
		{&resource.File{Path: "/etc/passwd", Mode: "0644"}, nil},
		{&resource.Absent{Path: "/x"}, nil},
		{&resource.Mount{Point: "/var/lib/vault", What: "/dev/disk/by-partlabel/v", FSType: "ext4", Options: []string{"rw", "nodev"}, Settings: []string{"commit=5"}, After: []string{"a.service", "b.service"}},
			[]overlay.Fragment{
				overlay.File("/usr/lib/systemd/system/var-lib-vault.mount", `[Unit]
Description=/var/lib/vault of the node
Before=local-fs.target
After=a.service
After=b.service

[Mount]
What=/dev/disk/by-partlabel/v
Where=/var/lib/vault
Type=ext4
Options=rw,nodev,commit=5
`),
				overlay.Symlink("/usr/lib/systemd/system/local-fs.target.requires/var-lib-vault.mount", "../var-lib-vault.mount"),
			}},
		{&resource.Mount{Point: "/srv", What: "/dev/mapper/x", FSType: "ext4", Options: []string{"rw"}, Requires: []string{"open@x.service"}},
			[]overlay.Fragment{
				overlay.File("/usr/lib/systemd/system/srv.mount", `[Unit]
Description=/srv of the node
DefaultDependencies=no
Conflicts=umount.target
Before=umount.target
Requires=open@x.service
After=open@x.service

[Mount]
What=/dev/mapper/x
Where=/srv
Type=ext4
Options=rw
`),
				overlay.Symlink("/usr/lib/systemd/system/multi-user.target.wants/srv.mount", "../srv.mount"),
			}},
		{&resource.Mount{Point: "/var/lib/vault", What: "/var/lib/vault", Bind: true, Options: []string{"rw", "noexec"}},
			[]overlay.Fragment{
				overlay.File("/usr/lib/systemd/system/var-lib-vault.mount", `[Unit]
Description=/var/lib/vault of the node
Before=local-fs.target

[Mount]
What=/var/lib/vault
Where=/var/lib/vault
Type=none
Options=bind,rw,noexec
`),
				overlay.Symlink("/usr/lib/systemd/system/local-fs.target.requires/var-lib-vault.mount", "../var-lib-vault.mount"),
			}},
		{&resource.Mount{Point: "/", Verity: true}, nil},
		{&resource.KernelArgument{Name: "nohibernate"}, []overlay.Fragment{overlay.File("/usr/lib/strongroom/cmdline.d/50-nohibernate.conf", "nohibernate\n")}},
		{&resource.KernelArgument{Name: "root", Value: "/dev/mapper/root"},
			[]overlay.Fragment{overlay.File("/usr/lib/strongroom/cmdline.d/50-root=_dev_mapper_root.conf", "root=/dev/mapper/root\n")}},
		{&resource.KernelModule{Name: "zram", State: "blocked"},
			[]overlay.Fragment{overlay.File("/usr/lib/modprobe.d/60-strongroom-zram.conf", "blacklist zram\ninstall zram /bin/false\n")}},
		{&resource.KernelModule{Name: "dm_verity", State: "loaded"},
			[]overlay.Fragment{overlay.File("/usr/lib/modules-load.d/60-strongroom-dm_verity.conf", "dm_verity\n")}},
		{&resource.UnitState{Name: "ssh.service", State: "masked"}, []overlay.Fragment{overlay.Symlink("/etc/systemd/system/ssh.service", "/dev/null")}},
		{&resource.UnitState{Name: "chrony.service", State: "active", WantedBy: "multi-user.target"},
			[]overlay.Fragment{overlay.Symlink("/etc/systemd/system/multi-user.target.wants/chrony.service", "/usr/lib/systemd/system/chrony.service")}},
		{&resource.UnitState{Name: "chrony.service", State: "active"}, nil},
		{&resource.UnitProperty{Unit: "vault.service", Name: "sandbox", Section: "Service", Properties: map[string]string{"User": "vault", "CapabilityBoundingSet": ""}},
			[]overlay.Fragment{overlay.File("/usr/lib/systemd/system/vault.service.d/50-sandbox.conf", "[Service]\nCapabilityBoundingSet=\nUser=vault\n")}},
		{&resource.Account{Name: "vault", UID: 800, Home: "/var/lib/vault", Description: "HashiCorp Vault"},
			[]overlay.Fragment{overlay.File("/usr/lib/sysusers.d/60-strongroom-vault.conf", "u vault 800 \"HashiCorp Vault\" /var/lib/vault /usr/sbin/nologin\n")}},
		{&resource.Account{Name: "*"}, nil},
		{&resource.Listener{Allow: []string{"tcp/1"}}, nil},
		{&resource.ProcessLimits{Unit: "vault.service", Name: "core", Limits: map[string]string{"nofile": "9", "core": "0"}},
			[]overlay.Fragment{overlay.File("/usr/lib/systemd/system/vault.service.d/50-limits-core.conf", "[Service]\nLimitCORE=0\nLimitNOFILE=9\n")}},
		{&resource.ProcessLimits{Unit: "vault.service", Name: "core", Confined: true}, nil},
		{&resource.VaultConfig{Path: "/v", Name: "x", Forbid: []string{"ui"}}, nil},
		{&resource.Firewall{
			Sets:     []string{"peers"},
			Inbound:  []resource.Opening{{Protocol: "tcp", Port: 8201, Peer: "peers"}, {Protocol: "udp", Source: 67, Port: 68}},
			Outbound: []resource.Opening{{Peer: "peers"}, {Protocol: "tcp", Port: 80, Peer: "169.254.169.254/32"}, {Protocol: "udp", Port: 1, Peer: "fd00::1/8"}},
		}, []overlay.Fragment{
			overlay.File("/etc/nftables.conf", `#!/usr/sbin/nft -f
# The sets are empty until hostcheck-configure fills them from node.hcl.
flush ruleset

table inet strongroom {
	set peers4 {
		type ipv4_addr
		flags interval
		auto-merge
	}
	set peers6 {
		type ipv6_addr
		flags interval
		auto-merge
	}
	chain input {
		type filter hook input priority filter; policy drop;
		iifname "lo" accept
		ct state invalid drop
		ct state established,related accept
		icmp type { destination-unreachable, echo-request, time-exceeded, parameter-problem } accept
		icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem, echo-request, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept
		ip saddr @peers4 tcp dport 8201 accept
		ip6 saddr @peers6 tcp dport 8201 accept
		udp sport 67 udp dport 68 accept
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
	}
	chain output {
		type filter hook output priority filter; policy drop;
		oifname "lo" accept
		ct state invalid drop
		ct state established,related accept
		icmp type { destination-unreachable, echo-request, time-exceeded, parameter-problem } accept
		icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem, echo-request, nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report } accept
		ip daddr @peers4 accept
		ip6 daddr @peers6 accept
		ip daddr 169.254.169.254 tcp dport 80 accept
		ip6 daddr fd00::/8 udp dport 1 accept
	}
}
`),
			overlay.Symlink("/etc/systemd/system/sysinit.target.wants/nftables.service", "/usr/lib/systemd/system/nftables.service"),
		}},
	} {
		if err := c.res.Validate(); err != nil {
			t.Errorf("%s: %v", c.res.Key(), err)
		}
		got, err := c.res.Render(control.Profile{})
		if err != nil {
			t.Errorf("%s: %v", c.res.Key(), err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s, want, got:\n%s", c.res.Key(), diff)
		}
	}
}

// Kinds is complete and without doubles; each makes a resource of its own name.
func TestKinds(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range resource.KindNames() {
		r, ok := resource.New(name)
		if !ok || r.Key().Kind != name || seen[name] {
			t.Errorf("kind %s makes %v", name, r)
		}
		seen[name] = true
	}
	if _, ok := resource.New("grsecurity"); ok {
		t.Error("an unknown kind was made")
	}
}

// On a tree nothing runs: no kind asks for effective state there.
func TestNoEffectiveStateOnATree(t *testing.T) {
	for _, name := range resource.KindNames() {
		r, _ := resource.New(name)
		for _, o := range r.Verify(t.Context(), treeWithoutFacts(), control.StageImage) {
			if o.Layer != control.OnDisk {
				t.Errorf("%s gives an effective fact of a tree: %+v", name, o)
			}
		}
	}
}
