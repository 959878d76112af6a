package resource_test

import (
	"io/fs"
	"testing"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host/hosttest"
	"github.com/strongroom/strongroom/internal/resource"
)

func TestWriteProtected(t *testing.T) {
	w := &resource.WriteProtected{Path: "/bin/vault"}
	node := func() *hosttest.Host { // merged /usr: the way leads through a link
		return hosttest.New().Symlink("/bin", "usr/bin").File("/usr/bin/vault", "ELF")
	}
	for _, stage := range []control.Stage{control.StageImage, control.StageBoot} {
		expectAt(t, w, node(), stage, control.Pass, rootOnly)
		expectAt(t, w, node().Chmod("/usr/bin/vault", 0o775), stage, control.Fail, "/usr/bin/vault")
		expectAt(t, w, node().Chown("/usr/bin/vault", 800, 800), stage, control.Fail, "uid 800")
		expectAt(t, w, node().Chmod("/usr/bin", 0o777), stage, control.Fail, "/usr/bin:")
		expectAt(t, w, node().Chmod("/usr", 0o775), stage, control.Fail, "/usr:")
		expectAt(t, w, node().Chmod("/", 0o777), stage, control.Fail, "/:")
		expectAt(t, w, node().Chown("/bin", 800, 800), stage, control.Fail, "/bin:") // a link of somebody else's
		expectAt(t, w, hosttest.New(), stage, control.Fail, "absent")
		expectAt(t, w, node().FailFile("/usr/bin", errDenied), stage, control.Unknown, "permission denied")
		expectAt(t, w, hosttest.New().Symlink("/bin", "bin"), stage, control.Unknown, "40 symbolic links")
		expectAt(t, w, hosttest.New().Symlink("/bin", "/opt/../usr/bin").Directory("/opt", 0o755).File("/usr/bin/vault", ""), stage, control.Pass, "")
	}

	// In root's sticky directory nobody can replace what is root's; to be one is another matter.
	sticky := func() *hosttest.Host {
		return hosttest.New().Directory("/tmp", 0o777|fs.ModeSticky).File("/tmp/x", "").Directory("/tmp/d", 0o777|fs.ModeSticky)
	}
	expect(t, &resource.WriteProtected{Path: "/tmp/x"}, sticky(), control.Pass, "")
	expect(t, &resource.WriteProtected{Path: "/tmp/x"}, sticky().Chown("/tmp/x", 800, 800), control.Fail, "/tmp/x")
	expect(t, &resource.WriteProtected{Path: "/tmp/x"}, sticky().Chown("/tmp", 800, 800), control.Fail, "/tmp:")
	expect(t, &resource.WriteProtected{Path: "/tmp/d"}, sticky(), control.Fail, "/tmp/d")

	below := &resource.WriteProtected{Path: "/etc/systemd/system", Below: true}
	units := func() *hosttest.Host {
		return hosttest.New().File("/etc/systemd/system/a.service.d/10.conf", "").Symlink("/etc/systemd/system/b.service", "/dev/null")
	}
	expect(t, below, units(), control.Pass, "")
	expect(t, below, units().Chmod("/etc/systemd/system/a.service.d/10.conf", 0o646), control.Fail, "10.conf")
	expect(t, below, units().Chown("/etc/systemd/system/a.service.d", 800, 800), control.Fail, "a.service.d:")
	expect(t, below, units().Chown("/etc/systemd/system/b.service", 800, 800), control.Fail, "b.service")
	expect(t, below, units().FailFile("/etc/systemd/system/a.service.d", errDenied), control.Unknown, "a.service.d")
	expect(t, below, hosttest.New(), control.Fail, "absent")

	optional := &resource.WriteProtected{Path: "/etc/vault/plugins", Below: true, Optional: true}
	expect(t, optional, hosttest.New(), control.Pass, "absent")
	expect(t, optional, hosttest.New().Directory("/etc", 0o777), control.Fail, "/etc:")
	expect(t, optional, hosttest.New().FailFile("/etc", errDenied), control.Unknown, "permission denied")

	runtime := &resource.WriteProtected{Path: "/run/vault/vault.hcl", Runtime: true}
	if obs := runtime.Verify(t.Context(), hosttest.New(), control.StageImage); len(obs) != 0 {
		t.Errorf("a tree was asked for a file of a running node: %+v", obs)
	}
	expect(t, runtime, hosttest.New().File("/run/vault/vault.hcl", ""), control.Pass, "")
}

const rootOnly = "owned by root, not writable by others"

func TestWriteProtectedWays(t *testing.T) {
	f := &resource.WriteProtected{Path: "/usr/bin/vault"}
	for name, c := range map[string]struct {
		h    *hosttest.Host
		want control.Outcome
		text string
	}{
		"a directory that the group may write to": {
			hosttest.New().File("/usr/bin/vault", "").Chmod("/usr/bin", 0o775), control.Fail, "/usr/bin: want owned by root"},
		"a directory of another above":          {hosttest.New().File("/usr/bin/vault", "").Chown("/usr", 800, 0), control.Fail, "/usr: want"},
		"the root itself":                       {hosttest.New().File("/usr/bin/vault", "").Chmod("/", 0o777), control.Fail, "/: want"},
		"a sticky directory keeps root's files": {hosttest.New().File("/usr/bin/vault", "").Chmod("/usr/bin", 0o777|fs.ModeSticky), control.Pass, ""},
		"a linked directory that is safe": {
			hosttest.New().File("/opt/bin/vault", "").Symlink("/usr/bin", "/opt/bin"), control.Pass, ""},
		"a linked directory in one that is not": {
			hosttest.New().File("/srv/x/bin/vault", "").Chmod("/srv/x", 0o777).Symlink("/usr/bin", "../srv/x/bin"), control.Fail, "/srv/x: want"},
		"a linked file in a directory that is not": {
			hosttest.New().File("/var/lib/vault/v", "").Chown("/var/lib/vault", 800, 800).Symlink("/usr/bin/vault", "/var/lib/vault/v"), control.Fail, "/var/lib/vault: want"},
		"a link that lies in a directory that is not": {
			hosttest.New().File("/opt/vault", "").Symlink("/usr/bin/vault", "../../opt/vault").Chmod("/usr/bin", 0o777), control.Fail, "/usr/bin: want"},
		"a dangling link": {hosttest.New().Symlink("/usr/bin/vault", "/nowhere"), control.Fail, "absent"},
		"a loop":          {hosttest.New().Symlink("/usr/bin/vault", "vault"), control.Unknown, "symbolic links"},
	} {
		t.Run(name, func(t *testing.T) { expectAt(t, f, c.h, control.StageImage, c.want, c.text) })
	}
}
