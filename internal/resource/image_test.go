package resource_test

import (
	"fmt"
	"io/fs"
	"testing"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/host/hosttest"
	"github.com/strongroom/strongroom/internal/resource"
)

func TestMounts(t *testing.T) {
	m := func(point, device string, options ...string) host.Mount {
		return host.Mount{Point: point, Device: device, Options: options, Source: "/dev/" + device}
	}
	node := func(mounts ...host.Mount) *hosttest.Host { return hosttest.New().SetMounts(mounts...) }
	root, data, audit := m("/", "253:0", "ro"), m("/data", "254:4", "rw", "nosuid"), m("/audit", "254:5", "rw", "nosuid")

	known := &resource.Mounts{Name: "known", Writable: true, Only: []string{"/data", "/run/credentials/*"}}
	expect(t, known, node(root, data, m("/run/credentials/x.service", "0:1", "rw")), control.Pass, "nothing else than")
	expect(t, known, node(root, data, audit), control.Fail, "not so: /audit")
	expect(t, known, node(m("/", "253:0", "rw")), control.Fail, "not so: / (rw)")
	expect(t, known, node().FailFact("Mounts", errDenied), control.Unknown, "permission denied")

	nosuid := &resource.Mounts{Name: "nosuid", Writable: true, Options: []string{"nosuid", "nodev"}, Except: []string{"/dev"}}
	expect(t, nosuid, node(root, m("/dev", "0:6", "rw"), m("/tmp", "0:7", "nodev", "nosuid", "rw")), control.Pass, "nosuid,nodev on each")
	expect(t, nosuid, node(data), control.Fail, "not so: /data")

	apart := &resource.Mounts{Name: "apart", Points: []string{"/", "/data", "/audit"}, Apart: true}
	expect(t, apart, node(root, data, audit), control.Pass, "device of its own")
	expect(t, apart, node(root, data), control.Fail, "not a mount point: /audit")
	expect(t, apart, node(root, data, m("/audit", "254:4", "rw")), control.Fail, "254:4: /data and /audit")
	expect(t, apart, node(root, data, audit, m("/data", "253:0", "rw")), control.Fail, "253:0: / and /data") // mounted over

	encrypted := &resource.Mounts{Name: "encrypted", Points: []string{"/data"}, Encrypted: true}
	const uuid = "/sys/dev/block/254:4/dm/uuid"
	expect(t, encrypted, node(data).File(uuid, "CRYPT-LUKS2-0123-data\n"), control.Pass, "CRYPT-LUKS2")
	expect(t, encrypted, node(data).File(uuid, "CRYPT-VERITY-0123-data\n"), control.Fail, "CRYPT-VERITY")
	expect(t, encrypted, node(data), control.Fail, "/data lies on /dev/254:4 in the clear")
	expect(t, encrypted, node(data).FailFile(uuid, errDenied), control.Unknown, "permission denied")
}

func TestRootTree(t *testing.T) {
	tree := func() *hosttest.Host {
		return hosttest.New().File("/etc/passwd", "root:x:0:0:root:/root:/bin/false\n").File("/etc/group", "root:x:0:\nshadow:x:42:\n").
			File("/etc/shadow", "").Chown("/etc/shadow", 0, 42).Directory("/tmp", 0o777|fs.ModeSticky).Symlink("/bin", "usr/bin").
			File("/proc/elsewhere", "").Chmod("/proc/elsewhere", 0o777|fs.ModeSetuid).Directory("/var/mail", 0o775|fs.ModeSetgid)
	}
	const at = "/usr/bin/x"
	breaks := map[string]func(*hosttest.Host){
		"set-id":           func(h *hosttest.Host) { h.File(at, "").Chmod(at, 0o755|fs.ModeSetuid) },
		"capability":       func(h *hosttest.Host) { h.File(at, "").SetFileCapability(at, "01") },
		"writable-by-all":  func(h *hosttest.Host) { h.Directory(at, 0o777) },
		"owned-by-nobody":  func(h *hosttest.Host) { h.File(at, "").Chown(at, 0, 7) },
		"owned-by-service": func(h *hosttest.Host) { h.File(at, "").Chown(at, 33, 0) },
		"special":          func(h *hosttest.Host) { h.Special(at, fs.ModeSocket|0o600) },
	}
	for forbid, break_ := range breaks {
		r := &resource.RootTree{Forbid: forbid}
		if err := r.Validate(); err != nil {
			t.Error(err)
		}
		expectAt(t, r, tree(), control.StageImage, control.Pass, "want")
		h := tree()
		break_(h)
		expectAt(t, r, h, control.StageImage, control.Fail, "not so: "+at)
		expectAt(t, r, tree().FailFile("/usr", errDenied).Directory("/usr", 0o755), control.StageImage, control.Unknown, "permission denied")
		expectAt(t, r, tree().Remove("/etc/passwd"), control.StageImage, control.Unknown, "who owns files")
		expect(t, r, tree(), control.NotApplicable, "judged when the image was made")
	}
	many := tree()
	for i := range 25 {
		p := fmt.Sprintf("/usr/bin/x%02d", i)
		many.File(p, "").Chmod(p, 0o755|fs.ModeSetgid)
	}
	expectAt(t, &resource.RootTree{Forbid: "set-id"}, many, control.StageImage, control.Fail, "x19 and 5 more")
}

func TestProgramsAbsent(t *testing.T) {
	p := &resource.ProgramsAbsent{Name: "x", Programs: []string{"gdb", "python*"}}
	tree := func() *hosttest.Host {
		return hosttest.New().Symlink("/bin", "usr/bin").File("/usr/bin/gdbus", "").File("/usr/sbin/cron", "")
	}
	expectAt(t, p, tree(), control.StageImage, control.Pass, "none of gdb python*")
	expect(t, p, tree().File("/usr/bin/python3", ""), control.Fail, "not so: /usr/bin/python3")
	expect(t, p, tree().Symlink("/usr/local/sbin/gdb", "/opt/gdb"), control.Fail, "/usr/local/sbin/gdb")
	expect(t, p, tree().Remove("/bin").File("/bin/gdb", ""), control.Fail, "not so: /bin/gdb")
	expect(t, p, tree().FailFile("/usr/sbin", errDenied), control.Unknown, "/usr/sbin")
}

func TestAccountsKnown(t *testing.T) {
	a := &resource.AccountsKnown{Users: []string{"root", "vault"}, Members: []string{"tty"}}
	tree := func(passwd, group string) *hosttest.Host {
		return hosttest.New().File("/etc/passwd", "root:x:0:0:root:/root:/bin/false\n"+passwd).File("/etc/group", "root:x:0:\n"+group).File("/etc/gshadow", "root:*::\n")
	}
	const vault = "vault:x:800:800::/:/bin/false\n"
	expect(t, a, tree(vault, ""), control.Pass, "")
	expect(t, a, tree("", ""), control.Pass, "") // an account less is nobody's gain
	expect(t, a, tree(vault, "tty:x:5:vault\n"), control.Pass, "")
	expect(t, a, tree(vault+"guest:x:1000:1000::/:/bin/false\n", ""), control.Fail, "not so: guest")
	expect(t, a, tree("vault:x:0:0::/:/bin/false\n", ""), control.Fail, "root and vault (0)")
	expect(t, a, tree(vault, "disk:x:6:vault\n"), control.Fail, "not so: disk: vault")
	expect(t, a, tree(vault, "").File("/etc/gshadow", "disk:*:vault:\n"), control.Fail, "disk: vault")
	expect(t, a, tree(vault, "").Remove("/etc/gshadow"), control.Pass, "no such file")
	expect(t, a, tree(vault, "").Remove("/etc/group"), control.Fail, "absent")
	expect(t, a, tree("vault\n", ""), control.Unknown, "seven fields")
	expect(t, a, tree(vault, "disk\n"), control.Unknown, "four fields")
	expect(t, a, tree(vault, "").FailFile("/etc/passwd", errDenied), control.Unknown, "permission denied")
}

func TestPristine(t *testing.T) {
	p := &resource.Pristine{Path: "/etc/machine-id"}
	expectAt(t, p, hosttest.New(), control.StageImage, control.Pass, "absent")
	expectAt(t, p, hosttest.New().File(p.Path, ""), control.StageImage, control.Pass, "an empty file")
	expectAt(t, p, hosttest.New().Directory(p.Path, 0o755), control.StageImage, control.Pass, "got nothing")
	expectAt(t, p, hosttest.New().File(p.Path, "x"), control.StageImage, control.Fail, "says something")
	expectAt(t, p, hosttest.New().File(p.Path+"/key", ""), control.StageImage, control.Fail, "got key")
	expectAt(t, p, hosttest.New().FailFile(p.Path, errDenied), control.StageImage, control.Unknown, "permission denied")
	expect(t, p, hosttest.New().File(p.Path, "x"), control.NotApplicable, "judged when the image was made")
	names := &resource.Pristine{Path: "/root", Names: []string{"*.key", ".ssh"}}
	expectAt(t, names, hosttest.New().File("/root/.bashrc", ""), control.StageImage, control.Pass, "")
	expectAt(t, names, hosttest.New().File("/root/a.key", ""), control.StageImage, control.Fail, "got a.key")
}

func TestOSRelease(t *testing.T) {
	r := &resource.OSRelease{}
	tree := func(content string) *hosttest.Host { return hosttest.New().File("/etc/os-release", content) }
	expect(t, r, tree("ID=debian\nIMAGE_ID=x\nIMAGE_VERSION=\"1.2\"\n"), control.Pass, "got 1.2")
	expect(t, r, tree("IMAGE_ID=x\n"), control.Fail, "IMAGE_VERSION")
	expect(t, r, tree("IMAGE_ID=x\nIMAGE_VERSION=\n"), control.Fail, "got nothing")
	expect(t, r, hosttest.New(), control.Fail, "absent")
	expect(t, r, hosttest.New().FailFile("/etc/os-release", errDenied), control.Unknown, "permission denied")
}
