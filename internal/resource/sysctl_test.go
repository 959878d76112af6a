package resource_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host/hosttest"
	"github.com/strongroom/strongroom/internal/resource"
)

func TestSysctlEffective(t *testing.T) {
	s := &resource.Sysctl{Name: "kernel.printk", Value: "3 4 1 7"}
	optional := &resource.Sysctl{Name: "vm.unprivileged_userfaultfd", Value: "0", Optional: true}
	node := func(v string) *hosttest.Host { return hosttest.New().File("/proc/sys/kernel/printk", v) }
	expect(t, s, node("3\t4\t1\t7\n"), control.Pass, "/proc/sys/kernel/printk")
	expect(t, s, node("4\t4\t1\t7\n"), control.Fail, "got 4 4 1 7")
	expect(t, s, hosttest.New(), control.Fail, "absent")
	expect(t, s, hosttest.New().FailFile("/proc/sys/kernel/printk", errDenied), control.Unknown, "permission denied")
	expect(t, optional, hosttest.New(), control.Pass, "not in this kernel")
	expect(t, optional, hosttest.New().File("/proc/sys/vm/unprivileged_userfaultfd", "1\n"), control.Fail, "got 1")
	expect(t, optional, hosttest.New().FailFile("/proc/sys/vm/unprivileged_userfaultfd", errDenied), control.Unknown, "permission denied")
}

func TestSysctlOverrides(t *testing.T) {
	s := &resource.Sysctl{Name: "kernel.sysrq", Value: "0"}
	const fail, pass = "kernel.sysrq = 1\n", ""
	type files map[string]string
	for name, c := range map[string]struct {
		files files
		want  string // the file that is named, "" when nothing overrides
	}{
		"an earlier name":                 {files{"/etc/sysctl.d/10-a.conf": fail}, pass},
		"a later name":                    {files{"/usr/lib/sysctl.d/zz.conf": fail}, "/usr/lib/sysctl.d/zz.conf"},
		"a later name in /etc":            {files{"/etc/sysctl.d/zz.conf": fail}, "/etc/sysctl.d/zz.conf"},
		"a later name in /run":            {files{"/run/sysctl.d/zz.conf": fail}, "/run/sysctl.d/zz.conf"},
		"a later name in /usr/local":      {files{"/usr/local/lib/sysctl.d/zz.conf": fail}, "/usr/local/lib/sysctl.d/zz.conf"},
		"another suffix":                  {files{"/etc/sysctl.d/zz.conf.bak": fail, "/etc/sysctl.d/README": fail}, pass},
		"the same value":                  {files{"/etc/sysctl.d/zz.conf": "kernel.sysrq=0\n"}, pass},
		"/etc replaces /usr/lib":          {files{"/usr/lib/sysctl.d/zz.conf": fail, "/etc/sysctl.d/zz.conf": "# nothing\n"}, pass},
		"/etc replaces /run":              {files{"/run/sysctl.d/zz.conf": fail, "/etc/sysctl.d/zz.conf": ""}, pass},
		"/run replaces /usr/local":        {files{"/usr/local/lib/sysctl.d/zz.conf": fail, "/run/sysctl.d/zz.conf": ""}, pass},
		"/usr/local replaces /usr":        {files{"/usr/lib/sysctl.d/zz.conf": fail, "/usr/local/lib/sysctl.d/zz.conf": ""}, pass},
		"/usr does not replace /etc":      {files{"/usr/lib/sysctl.d/zz.conf": "", "/etc/sysctl.d/zz.conf": fail}, "/etc/sysctl.d/zz.conf"},
		"ours is replaced":                {files{"/etc/sysctl.d/99-strongroom-kernel.sysrq.conf": ""}, "/etc/sysctl.d/99-strongroom-kernel.sysrq.conf"},
		"ours is replaced for this boot":  {files{"/run/sysctl.d/99-strongroom-kernel.sysrq.conf": "kernel.sysrq = 0\n"}, "/run/sysctl.d/99-strongroom-kernel.sysrq.conf"},
		"Debian's link to sysctl.conf":    {files{"/etc/sysctl.d/99-sysctl.conf": "→ ../sysctl.conf", "/etc/sysctl.conf": fail}, "/etc/sysctl.d/99-sysctl.conf"},
		"a dangling link":                 {files{"/etc/sysctl.d/99-sysctl.conf": "→ ../sysctl.conf"}, pass},
		"a file that is masked":           {files{"/etc/sysctl.d/zz.conf": "→ /dev/null", "/usr/lib/sysctl.d/zz.conf": fail}, pass},
		"ours is masked":                  {files{"/etc/sysctl.d/99-strongroom-kernel.sysrq.conf": "→ /dev/null"}, "/etc/sysctl.d/99-strongroom-kernel.sysrq.conf"},
		"taken back":                      {files{"/etc/sysctl.d/zz.conf": "-kernel.sysrq\n"}, "/etc/sysctl.d/zz.conf"},
		"two files, the first one is bad": {files{"/etc/sysctl.d/zy.conf": fail, "/etc/sysctl.d/zz.conf": "kernel.sysrq = 0\n"}, "/etc/sysctl.d/zy.conf"},
	} {
		t.Run(name, func(t *testing.T) {
			h := hosttest.New().File("/usr/lib/sysctl.d/99-strongroom-kernel.sysrq.conf", "kernel.sysrq = 0\n")
			for p, content := range c.files {
				if target, ok := strings.CutPrefix(content, "→ "); ok {
					h.Symlink(p, target)
					continue
				}
				h.File(p, content)
			}
			want, text := control.Unknown, "" // nothing on disk to complain of: no observation at all
			if c.want != "" {
				want, text = control.Fail, c.want
			}
			expectAt(t, s, h, control.StageImage, want, text)
			h.File("/proc/sys/kernel/sysrq", "0\n")
			if c.want == "" {
				want = control.Pass
			}
			expect(t, s, h, want, text)
		})
	}
	node := hosttest.New().File("/proc/sys/kernel/sysrq", "0\n").File("/etc/sysctl.d/zz.conf", "")
	expect(t, s, node.FailFile("/etc/sysctl.d/zz.conf", errDenied), control.Unknown, "/etc/sysctl.d/zz.conf")
	node = hosttest.New().File("/proc/sys/kernel/sysrq", "0\n").Directory("/run/sysctl.d", 0o755)
	expect(t, s, node.FailFile("/run/sysctl.d", errDenied), control.Unknown, "/run/sysctl.d")
}

// laterFragments are what may stand in a file after ours, which sets the parameter to 0. The real
// systemd-sysctl says what becomes of it.
var laterFragments = []string{
	"net.ipv4.conf.all.log_martians = 1\n",
	"net.ipv4.conf.all.log_martians=1",
	"  net.ipv4.conf.all.log_martians\t=\t1  \n",
	"net.ipv4.conf.all.log_martians = 0\n",
	"net/ipv4/conf/all/log_martians = 1\n",
	"/net/ipv4/conf/all/log_martians = 1\n",
	"net/ipv4//conf/all/log_martians = 1\n",
	"net.ipv4/conf.all.log_martians = 1\n",
	"net/ipv4.conf/all/log_martians = 1\n",
	".net.ipv4.conf.all.log_martians = 1\n",
	"-net.ipv4.conf.all.log_martians = 1\n",
	"- net.ipv4.conf.all.log_martians = 1\n",
	"-net.ipv4.conf.all.log_martians\n",
	"-net.ipv4.conf.*.log_martians\n",
	"net.ipv4.conf.all.log_martians\n",
	"net.ipv4.conf.*.log_martians = 1\n",
	"net/ipv4/conf/*/log_martians = 1\n",
	"net.ipv4.conf.al[l].log_martians = 1\n",
	"# net.ipv4.conf.all.log_martians = 1\n",
	"; net.ipv4.conf.all.log_martians = 1\n",
	"  # net.ipv4.conf.all.log_martians = 1\n",
	"net.ipv4.conf.all.log_martians = 1 # no comment\n",
	"net.ipv4.conf.all.log_martians = 1\nnet.ipv4.conf.all.log_martians = 0\n",
	"net.ipv4.conf.all.log_martians = 0\nnet.ipv4.conf.all.log_martians = 1\n",
	"net.ipv4.conf.all.log_martians = 1\n-net.ipv4.conf.all.log_martians\n",
	"-net.ipv4.conf.all.log_martians\nnet.ipv4.conf.all.log_martians = 0\n",
	"net.ipv4.conf.all.Log_martians = 1\n",
	"NET.ipv4.conf.all.log_martians = 1\n",
	"net.ipv4.conf.all.log_martians = 0 \n",
	"net.ipv4.conf.all.log_martians == 1\n",
	"net.ipv4.conf.all.log_martians =\n",
	"net.ipv4.conf.all.log_martians : 1\n",
	"net.ipv4.conf.lo.log_martians = 1\n",
	"kernel.net.ipv4.conf.all.log_martians = 1\n",
	"net.ipv4.conf.all.log_martians = 1\r\n",
	"= 1\n", "-\n", "\n",
}

// What the resource says of a later fragment is what the real systemd-sysctl makes of it: it fails
// exactly when the parameter does not end up as ours says.
func TestSysctlOverridesAgreeWithSystemd(t *testing.T) {
	inFreshNetns(t)
	const tool = "/usr/lib/systemd/systemd-sysctl"
	if _, err := os.Stat(tool); err != nil {
		t.Fatalf("%v; run `make deps`", err)
	}
	s := &resource.Sysctl{Name: "net.ipv4.conf.all.log_martians", Value: "0"}
	ours, err := s.Render(control.Profile{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	first, second := filepath.Join(dir, "99-strongroom.conf"), filepath.Join(dir, "zz.conf")
	if err := os.WriteFile(first, ours[0].Content, 0o600); err != nil {
		t.Fatal(err)
	}
	// Children are forked from this thread, in its namespace.
	shell := func(script string, args ...string) string {
		out, err := exec.Command("/bin/sh", append([]string{"-c", script, "sh"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	overridden := 0
	for _, later := range laterFragments {
		if err := os.WriteFile(second, []byte(later), 0o600); err != nil {
			t.Fatal(err)
		}
		// Something else than ours before, so that "not set at all" shows.
		got := shell(`echo 7 >/proc/sys/net/ipv4/conf/all/log_martians; "$@" 2>/dev/null || true; cat /proc/sys/net/ipv4/conf/all/log_martians`, tool, first, second)
		h := hosttest.New().File(ours[0].Path, string(ours[0].Content)).File("/etc/sysctl.d/zz.conf", later)
		said := fmt.Sprint(s.Verify(t.Context(), h, control.StageImage))
		complains := strings.Contains(said, "/etc/sysctl.d/zz.conf")
		if got != "0" {
			overridden++
		}
		if got != "0" && !complains {
			t.Errorf("%q makes it %s, and nothing is said", later, got)
		}
		if got == "0" && complains && !cautious[later] {
			t.Errorf("%q leaves it alone, and yet: %s", later, said)
		}
	}
	if overridden < 8 {
		t.Errorf("only %d fragments had an effect: the test does not reach the kernel", overridden)
	}
}

// cautious are values that the kernel does not take, so that ours stays; a file that tries to is
// worth hearing of.
var cautious = map[string]bool{
	"net.ipv4.conf.all.log_martians = 1 # no comment\n": true,
	"net.ipv4.conf.all.log_martians == 1\n":             true,
	"net.ipv4.conf.all.log_martians =\n":                true,
}
