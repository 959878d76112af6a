package netboot

import (
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"github.com/cavaliergopher/cpio"
)

// Where the parts of the root lie in the memory of the initrd, and the devices that its unit makes of them.
const (
	rootFile     = "strongroom/root.squashfs"
	hashFile     = "strongroom/root.verity"
	rootUnit     = "usr/lib/systemd/system/strongroom-netboot.service"
	rootUnitWant = "usr/lib/systemd/system/sysinit.target.wants/strongroom-netboot.service"
	varUnit      = "usr/lib/systemd/system/sysroot-var.mount"
	varUnitWant  = "usr/lib/systemd/system/initrd-fs.target.wants/sysroot-var.mount"

	RootDevice = "/dev/loop0"
	HashDevice = "/dev/loop1"
)

// The unit brings the two files to where veritysetup expects block devices; the root hash of the command line then
// decides whether they are worth anything. When the memory of the initrd is given back, the loop devices keep what
// lies below them. StandardError: without the root there is no journal to read later.
const unit = `[Unit]
Description=Strongroom: the root file system in memory
DefaultDependencies=no
After=systemd-udevd.service
Before=veritysetup.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/modprobe loop
ExecStart=/usr/sbin/losetup --read-only ` + RootDevice + ` /` + rootFile + `
ExecStart=/usr/sbin/losetup --read-only ` + HashDevice + ` /` + hashFile + `
StandardError=journal+console
`

// scratch is /var of a machine that installs. Its own is on a partition that the installed image is yet to make: whoever starts a service that wants a
// private /var/tmp would wait for it in vain. What is mounted already, systemd does not mount again.
const scratch = `[Unit]
Description=Strongroom: /var for as long as it installs
ConditionKernelCommandLine=strongroom.install_disk
DefaultDependencies=no
Before=initrd-fs.target

[Mount]
What=tmpfs
Where=/sysroot/var
Type=tmpfs
Options=mode=0755,nosuid,nodev,noexec,size=64M
`

// WriteRoot writes the archive that follows the initrd: the root file system, its hash tree and the units that make
// devices of them, and /var of a machine that installs. It is not compressed, because the file system is. The same parts give the same bytes.
func WriteRoot(w io.Writer, root, hashes *os.File) error {
	archive := cpio.NewWriter(w)
	next := int64(1)
	add := func(h cpio.Header, content io.Reader) error {
		h.Inode, h.Links, h.ModTime = next, 1, time.Unix(0, 0)
		next++
		if err := archive.WriteHeader(&h); err != nil {
			return err
		}
		if content == nil {
			return nil
		}
		_, err := io.Copy(archive, content)
		return err
	}
	if err := add(cpio.Header{Name: path.Dir(rootFile), Mode: cpio.TypeDir | 0o700}, nil); err != nil {
		return err
	}
	for _, part := range []struct {
		name string
		file *os.File
	}{{rootFile, root}, {hashFile, hashes}} {
		st, err := part.file.Stat()
		if err != nil {
			return err
		}
		if err := add(cpio.Header{Name: part.name, Mode: cpio.TypeReg | 0o400, Size: st.Size()}, part.file); err != nil {
			return fmt.Errorf("cannot pack %s: %w", part.name, err)
		}
	}
	for _, u := range []struct{ path, text, want string }{{rootUnit, unit, rootUnitWant}, {varUnit, scratch, varUnitWant}} {
		if err := add(cpio.Header{Name: u.path, Mode: cpio.TypeReg | 0o444, Size: int64(len(u.text))}, strings.NewReader(u.text)); err != nil {
			return err
		}
		target := "../" + path.Base(u.path)
		if err := add(cpio.Header{Name: path.Dir(u.want), Mode: cpio.TypeDir | 0o755}, nil); err != nil {
			return err
		}
		if err := add(cpio.Header{Name: u.want, Mode: cpio.TypeSymlink | 0o777, Size: int64(len(target))}, strings.NewReader(target)); err != nil {
			return err
		}
	}
	return archive.Close()
}
