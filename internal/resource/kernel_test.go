package resource_test

import (
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host/hosttest"
	"github.com/strongroom/strongroom/internal/resource"
)

func TestKernelFact(t *testing.T) {
	file := func(p, content string) *hosttest.Host { return hosttest.New().File(p, content) }
	is := &resource.KernelFact{Path: "/sys/power/resume", Is: "0:0"}
	expect(t, is, file(is.Path, "0:0\n"), control.Pass, "/sys/power/resume")
	expect(t, is, file(is.Path, "254:3\n"), control.Fail, "got 254:3")
	expect(t, is, file(is.Path, "\n"), control.Fail, "got nothing")
	expect(t, is, hosttest.New(), control.Fail, "absent")
	expect(t, is, hosttest.New().FailFile(is.Path, errDenied), control.Unknown, "permission denied")

	optional := &resource.KernelFact{Path: "/sys/power/resume", Is: "0:0", Optional: true}
	expect(t, optional, hosttest.New(), control.Pass, "not in this kernel")
	expect(t, optional, hosttest.New().FailFile(is.Path, errDenied), control.Unknown, "permission denied")

	has := &resource.KernelFact{Path: "/sys/kernel/security/lsm", Has: []string{"lockdown", "yama"}}
	expect(t, has, file(has.Path, "lockdown,capability,yama"), control.Pass, "has lockdown, yama")
	expect(t, has, file(has.Path, "lockdown,capability,yamato"), control.Fail, "yamato")

	lacks := &resource.KernelFact{Path: "/sys/power/state", Lacks: []string{"disk"}}
	expect(t, lacks, file(lacks.Path, "freeze mem\n"), control.Pass, "freeze mem")
	expect(t, lacks, file(lacks.Path, "freeze mem disk\n"), control.Fail, "freeze mem disk")
	expect(t, lacks, file(lacks.Path, "\n"), control.Pass, "got nothing")

	names := &resource.KernelFact{Path: "/sys/block", Lacks: []string{"zram*"}}
	expect(t, names, hosttest.New().Directory("/sys/block/vda", 0o755), control.Pass, "vda")
	expect(t, names, hosttest.New().Directory("/sys/block/zram0", 0o755), control.Fail, "zram0")

	empty := &resource.KernelFact{Path: "/proc/net/ip_tables_names", Empty: true, Optional: true}
	expect(t, empty, file(empty.Path, ""), control.Pass, "got nothing")
	expect(t, empty, file(empty.Path, "filter\nnat\n"), control.Fail, "filter nat")
	expect(t, empty, hosttest.New(), control.Pass, "not in this kernel")
	expectAt(t, empty, file(empty.Path, "filter"), control.StageImage, control.Unknown, "") // nothing is said of a tree
}

func TestInterfaceSysctlEffective(t *testing.T) {
	s := &resource.InterfaceSysctl{Family: "ipv4", Name: "rp_filter", Value: "1"}
	node := func(names ...string) *hosttest.Host {
		h := hosttest.New()
		for _, n := range names {
			h.File("/proc/sys/net/ipv4/conf/"+n+"/rp_filter", "1\n")
		}
		return h
	}
	const eth0 = "/proc/sys/net/ipv4/conf/eth0/rp_filter"
	expect(t, s, node("all", "default", "eth0"), control.Pass, "1 everywhere")
	expect(t, s, node("all", "default", "eth0").File(eth0, "2\n"), control.Fail, "eth0: 2")
	expect(t, s, node("all", "eth0"), control.Fail, "default: absent")
	expect(t, s, node("all", "default").Directory("/proc/sys/net/ipv4/conf/eth0", 0o755), control.Fail, "eth0: absent")
	expect(t, s, node("all", "default", "eth0").FailFile(eth0, errDenied), control.Unknown, eth0)
	expect(t, s, node("all").FailFile("/proc/sys/net/ipv4/conf", errDenied), control.Unknown, "permission denied")
	expect(t, &resource.InterfaceSysctl{Family: "ipv6", Name: "accept_ra", Value: "0"}, node("all", "default"), control.Pass, "no ipv6 in this kernel")
}

// systemd-sysctl leaves out of a wildcard what any file names, and of two wildcards takes the later one.
func TestInterfaceSysctlOverrides(t *testing.T) {
	s := &resource.InterfaceSysctl{Family: "ipv4", Name: "rp_filter", Value: "1"}
	const ours = "/usr/lib/sysctl.d/99-strongroom-net.ipv4.conf.each.rp_filter.conf"
	for name, c := range map[string]struct {
		file, content string
		fails         bool
	}{
		"an interface by name, later":      {"/etc/sysctl.d/zz.conf", "net.ipv4.conf.eth0.rp_filter=2", true},
		"an interface by name, earlier":    {"/etc/sysctl.d/10.conf", "net.ipv4.conf.eth0.rp_filter=2", true},
		"with slashes":                     {"/etc/sysctl.d/10.conf", "net/ipv4/conf/eth0.5/rp_filter = 0", true},
		"taken out":                        {"/etc/sysctl.d/10.conf", "-net.ipv4.conf.eth0.rp_filter", true},
		"the same value":                   {"/etc/sysctl.d/10.conf", "net.ipv4.conf.eth0.rp_filter=1", false},
		"another parameter":                {"/etc/sysctl.d/zz.conf", "net.ipv4.conf.eth0.rp_filters=0", false},
		"another family":                   {"/etc/sysctl.d/zz.conf", "net.ipv6.conf.eth0.rp_filter=0", false},
		"a later wildcard":                 {"/etc/sysctl.d/zz.conf", "net.ipv4.conf.*.rp_filter=2", true},
		"a later wildcard of names":        {"/etc/sysctl.d/zz.conf", "-net.ipv4.conf.*.rp_* = 2", true},
		"a wildcard of another name":       {"/etc/sysctl.d/zz.conf", "net.ipv4.conf.*.arp_* = 2", false},
		"an earlier wildcard":              {"/usr/lib/sysctl.d/50-default.conf", "-net.ipv4.conf.*.rp_filter=2", false},
		"all by name, earlier":             {"/usr/lib/sysctl.d/50-default.conf", "-net.ipv4.conf.all.rp_filter\nnet.ipv4.conf.default.rp_filter = 2", false}, // Debian 13
		"all by name, later":               {"/etc/sysctl.d/zz.conf", "-net.ipv4.conf.all.rp_filter", true},
		"a comment":                        {"/etc/sysctl.d/zz.conf", "# net.ipv4.conf.eth0.rp_filter=2", false},
		"ours is replaced":                 {"/etc/sysctl.d/99-strongroom-net.ipv4.conf.each.rp_filter.conf", "", true},
		"a file without anything about it": {"/etc/sysctl.d/zz.conf", "kernel.sysrq=0\n", false},
	} {
		h := hosttest.New().File(ours, "-net.ipv4.conf.*.rp_filter = 1\n").File(c.file, c.content+"\n")
		want, text := control.Unknown, "" // no observation at all
		if c.fails {
			want, text = control.Fail, c.file
		}
		t.Run(name, func(t *testing.T) { expectAt(t, s, h, control.StageImage, want, text) })
	}
	expectAt(t, s, hosttest.New().File("/etc/sysctl.d/zz.conf", "").FailFile("/etc/sysctl.d/zz.conf", errDenied), control.StageImage, control.Unknown, "zz.conf")
	fragments, err := s.Render(control.Profile{})
	if err != nil || len(fragments) != 1 || fragments[0].Path != ours || string(fragments[0].Content) != "-net.ipv4.conf.all.rp_filter = 1\n-net.ipv4.conf.default.rp_filter = 1\n-net.ipv4.conf.*.rp_filter = 1\n" {
		t.Errorf("rendered %+v, %v", fragments, err)
	}
}

func TestKernelArgumentsAbsent(t *testing.T) {
	a := &resource.KernelArgumentsAbsent{Name: "x", Words: []string{"init", "mitigations=*off*", "systemd.debug*", "rd-break"}}
	for arg, forbidden := range map[string]bool{
		"init=/bin/sh":             true,
		"init":                     true,
		"init_on_alloc=1":          false,
		"mitigations=off":          true,
		"mitigations=auto,off":     true,
		"mitigations=auto":         false,
		"mitigations":              false,
		"systemd.debug_shell":      true,
		"systemd.debug-shell=tty1": true,
		"rd_break":                 true,
		"quiet":                    false,
	} {
		want, text := control.Pass, "none of"
		if forbidden {
			want, text = control.Fail, "got "+arg
		}
		expect(t, a, hosttest.New().SetKernelArguments("ro", arg), want, text)
	}
	expect(t, a, hosttest.New().FailFact("KernelArguments", errDenied), control.Unknown, "permission denied")
}

func TestCPUVulnerabilities(t *testing.T) {
	c := &resource.CPUVulnerabilities{}
	const dir = "/sys/devices/system/cpu/vulnerabilities/"
	node := func() *hosttest.Host {
		return hosttest.New().File(dir+"meltdown", "Mitigation: PTI\n").File(dir+"l1tf", "Not affected\n").
			File(dir+"itlb_multihit", "Processor vulnerable\n").
			File(dir+"mds", "Mitigation: Clear CPU buffers; SMT vulnerable\n")
	}
	expect(t, c, node(), control.Pass, "not affected, or mitigated")
	for _, said := range []string{"Vulnerable", "Vulnerable: Clear CPU buffers attempted, no microcode; SMT Host state unknown", "Vulnerable, IBPB: disabled", "", "news"} {
		expect(t, c, node().File(dir+"mds", said+"\n"), control.Fail, "mds ("+said+")")
	}
	expect(t, c, node().File(dir+"srbds", "Unknown: Dependent on hypervisor status\n"), control.Pass, "not-applicable")
	expect(t, c, hosttest.New(), control.NotApplicable, "does not tell")
	expect(t, c, node().FailFile(dir+"mds", errDenied), control.Unknown, "permission denied")
	expect(t, c, node().FailFile(strings.TrimSuffix(dir, "/"), errDenied), control.Unknown, "permission denied")
}
