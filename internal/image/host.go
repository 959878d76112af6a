package image

import (
	"bufio"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// hostTools are the programs that a bake runs on the host, with the Debian package of each.
var hostTools = []struct{ tool, pkg string }{
	{"mcopy", "mtools"},
	{"mkfs.vfat", "dosfstools"},
	{"mksquashfs", "squashfs-tools"},
	{"mmdebstrap", "mmdebstrap"},
	{"nsenter", "util-linux"},
	{"objcopy", "binutils"},
	{"sfdisk", "fdisk"},
	{"tar", "tar"},
	{"unshare", "util-linux"},
	{"veritysetup", "cryptsetup-bin"},
}

// requireTools names every missing host tool at once, with the one command that brings them.
func requireTools(s Spec) error {
	want := slices.Clone(hostTools)
	if slices.ContainsFunc(s.Formats, func(f string) bool { return f != FormatRaw && QEMUDriver(f) != "" }) {
		want = append(want, struct{ tool, pkg string }{"qemu-img", "qemu-utils"})
	}
	if os.Geteuid() != 0 {
		want = append(want, struct{ tool, pkg string }{"newuidmap", "uidmap"})
	}
	var tools, pkgs []string
	for _, w := range want {
		if !inToolPath(w.tool) {
			tools = append(tools, w.tool)
			if !slices.Contains(pkgs, w.pkg) {
				pkgs = append(pkgs, w.pkg)
			}
		}
	}
	if len(tools) == 0 {
		return nil
	}
	return withHint(fmt.Errorf("cannot bake: missing on this host: %s", strings.Join(tools, ", ")),
		"sudo apt-get install --yes "+strings.Join(pkgs, " "))
}

func inToolPath(tool string) bool {
	for _, dir := range filepath.SplitList(toolPath) {
		if unix.Access(filepath.Join(dir, tool), unix.X_OK) == nil {
			return true
		}
	}
	return false
}

// subordinateIDs is how many ids a user namespace needs besides 0: Debian's are below 65536.
const subordinateIDs = 65535

// requireSubordinateIDs checks what newuidmap and newgidmap will ask for, so that the answer
// is a command to run and not "Operation not permitted".
func requireSubordinateIDs() error {
	u, err := user.Current()
	if err != nil {
		return fmt.Errorf("cannot tell who bakes: %w", err)
	}
	var missing []string
	for _, f := range []struct{ file, flag string }{{"/etc/subuid", "--add-subuids"}, {"/etc/subgid", "--add-subgids"}} {
		text, err := os.ReadFile(f.file)
		if err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("cannot read %s: %w", f.file, err)
		}
		if !hasSubordinateIDs(string(text), u.Username, u.Uid) {
			missing = append(missing, f.flag+" 100000-165535")
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return withHint(fmt.Errorf("cannot bake as %s: no %d subordinate ids in /etc/subuid and /etc/subgid", u.Username, subordinateIDs),
		"sudo usermod "+strings.Join(missing, " ")+" "+u.Username)
}

// hasSubordinateIDs reads subuid(5): the first range of the user is the one that unshare maps.
func hasSubordinateIDs(text, name, uid string) bool {
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) != 3 || f[0] != name && f[0] != uid {
			continue
		}
		n, err := strconv.Atoi(f[2])
		return err == nil && n >= subordinateIDs
	}
	return false
}

// namespaceHint guesses why the kernel refused the namespaces, from what unshare said and from the host's settings.
func namespaceHint(said string) string {
	switch {
	case strings.Contains(said, "_map failed"):
		return "in a container without CAP_SYS_ADMIN: setcap cap_setuid=ep /usr/bin/newuidmap; setcap cap_setgid=ep /usr/bin/newgidmap, and no set-user-ID bit on either (docs/ci.md)"
	case strings.Contains(said, "mount /proc failed"):
		return "in a container: --security-opt systempaths=unconfined (Podman: unmask=ALL), since a masked /proc cannot be mounted again (docs/ci.md)"
	}
	if os.Geteuid() == 0 {
		return "a container needs CAP_SYS_ADMIN to bake as root; outside of one, look at the seccomp and AppArmor profile of this process"
	}
	for _, s := range []struct{ path, deny, hint string }{
		{"/proc/sys/kernel/unprivileged_userns_clone", "0", "sudo sysctl kernel.unprivileged_userns_clone=1"},
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"},
		{"/proc/sys/user/max_user_namespaces", "0", "sudo sysctl user.max_user_namespaces=10000"},
	} {
		if b, err := os.ReadFile(s.path); err == nil && strings.TrimSpace(string(b)) == s.deny {
			return s.hint
		}
	}
	return "in a container: --security-opt seccomp=unconfined --security-opt apparmor=unconfined (docs/ci.md)"
}

// memoryAvailable is MemAvailable in bytes, no more than the control group may use. 0 when it
// cannot be told, so that the caller works on disk.
func memoryAvailable() int64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer f.Close()
	var available int64
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "MemAvailable:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			available = kib << 10
		}
	}
	if limit, err := os.ReadFile("/sys/fs/cgroup/memory.max"); err == nil {
		if n, err := strconv.ParseInt(strings.TrimSpace(string(limit)), 10, 64); err == nil {
			available = min(available, n)
		}
	}
	return available
}

// explainNoSpace says which file system is full, and how full.
func (a *Assembly) explainNoSpace(err error) error {
	if !noSpace(err) {
		return err
	}
	var full []string
	for _, dir := range []string{filepath.Dir(a.spec.OutputDir), a.spec.CacheDir} {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil {
			full = append(full, fmt.Sprintf("%s has %d MiB free", dir, int64(st.Bavail)*st.Bsize>>20))
		}
	}
	return withHint(err, fmt.Sprintf("a bake needs about %d MiB for its artifacts and %d MiB in the cache: %s",
		artifactRoom(a.spec)>>20, cacheRoom>>20, strings.Join(full, ", ")))
}

const (
	treeRoom   = 3 << 29   // memory of a cold bake: the tree twice, the file systems
	formatRoom = 256 << 20 // the disk in one format; raw and vhd are sparse
	cacheRoom  = 512 << 20 // one base tree and one initrd
)

// workRoom is the memory that a bake wants for its work directory.
func workRoom(s Spec) int64 { return treeRoom + artifactRoom(s) }

// artifactRoom is what is published.
func artifactRoom(s Spec) int64 { return int64(len(s.Formats)) * formatRoom }
