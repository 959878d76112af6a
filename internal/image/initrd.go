package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// initrdModules are the dracut modules of an initrd that does one thing: find the disk, set up
// dm-verity and switch to the root that systemd.verity names. Not "base": it brings a shell, which nothing here calls.
var initrdModules = []string{
	"dm", "kernel-modules", "systemd", "systemd-initrd", "systemd-veritysetup", "udev-rules",
}

// initrdWithout is what dracut would take along with systemd: a generator that makes units of words of the command line and of
// credentials, which would run as root before the root file system is there.
var initrdWithout = []string{"usr/lib/systemd/system-generators/systemd-debug-generator", "usr/lib/systemd/system/debug-shell.service"}

// initrdScripts belong to dracut's own hooks. Without its module "base" nothing calls them, but for each script its shell is taken
// along: so they are empty.
var initrdScripts = []string{
	"usr/lib/dracut/modules.d/90dm/dm-pre-udev.sh", "usr/lib/dracut/modules.d/90dm/dm-shutdown.sh", "usr/lib/dracut/modules.d/90kernel-modules/insmodpost.sh",
}

// modulesOf are the modules of a distribution's initrd. Where systemd can measure the phases of the boot, they are measured; Debian 12's
// dracut wants the TPM's command-line tools for it.
func modulesOf(s Spec) []string {
	return slices.Concat(initrdModules, distributions[s.Distribution].initrd)
}

// initrdLibraries are what systemd opens (dlopen) to measure the phases of the boot into the TPM. dracut does not see that they are
// needed; a distribution that does not have them measures no phases.
const initrdLibraries = "/usr/lib/x86_64-linux-gnu/libtss2-esys.so.0 /usr/lib/x86_64-linux-gnu/libtss2-rc.so.0 " +
	"/usr/lib/x86_64-linux-gnu/libtss2-mu.so.0 /usr/lib/x86_64-linux-gnu/libtss2-sys.so.1 /usr/lib/x86_64-linux-gnu/libtss2-tcti-device.so.0"

// initrdDrivers are the kernel modules: disks and buses of the hypervisors, clouds and servers, what the
// root stands on, and where credentials come from.
var initrdDrivers = []string{
	"virtio_pci", "virtio_blk", "virtio_scsi", "nvme", "sd_mod", "ahci", "hv_storvsc", "hv_vmbus", "pci-hyperv", "xen-blkfront",
	"mptspi", "vmw_pvscsi",
	"megaraid_sas", "mpt3sas", "smartpqi", "aacraid", "hpsa", // the cloud flavour has none of these
	"dm-verity", "loop", "squashfs", "overlay", "vfat", "nls_ascii", "nls_cp437", "qemu_fw_cfg", "tpm_crb", "tpm_tis",
}

// initrdPrograms are what systemd calls to mount the root, and losetup for a root that lies in memory.
var initrdPrograms = []string{"modprobe", "mount", "umount", "losetup"}

// initrdConfig leaves nothing to the host that bakes. dracut.conf(5).
const initrdConfig = `hostonly="no"
early_microcode="no"
reproducible="yes"
do_strip="no"
use_fstab="no"
mdadmconf="no"
lvmconf="no"
`

const initrdDir = "initrd-tree" // of the work directory

// background is work that runs beside the steps.
type background struct {
	cancel context.CancelFunc
	ended  chan struct{}
	err    error
}

func (b *background) start(ctx context.Context, run func(context.Context) error) {
	ctx, b.cancel = context.WithCancel(ctx)
	b.ended = make(chan struct{})
	go func() {
		defer close(b.ended)
		b.err = run(ctx)
	}()
}

func (b *background) wait(ctx context.Context) error {
	select {
	case <-b.ended:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *background) stop() {
	if b.cancel != nil {
		b.cancel()
		<-b.ended
	}
}

// initrdName is the initrd's name in the cache: what determines it is the base tree and the recipe.
func (a *Assembly) initrdName() string {
	return "initrd-" + digestOf([]string{a.result.BaseKey, initrdConfig, initrdLibraries, strings.Join(modulesOf(a.spec), " "), strings.Join(initrdDrivers, " "), strings.Join(initrdPrograms, " "), strings.Join(initrdWithout, " "), strings.Join(initrdScripts, " ")}) + ".img"
}

// startInitrd takes the initrd from the cache, or makes it in a copy of the base tree: the overlay and the
// provisioners change the tree meanwhile.
func (a *Assembly) startInitrd(ctx context.Context) error {
	if a.result.BaseCached {
		cached, err := a.cache.open(a.initrdName(), 0)
		if err != nil {
			return err
		}
		if cached != nil {
			defer cached.Close()
			a.initrd.start(ctx, func(context.Context) error { return a.copyIn(initrdFile, cached) })
			return a.initrd.wait(ctx)
		}
	}
	if err := a.box.run(a.box.command(ctx, "cp", "--archive", a.box.path(treeDir), a.box.path(initrdDir))); err != nil {
		return fmt.Errorf("cannot copy the base tree for the initrd: %w", err)
	}
	a.initrd.start(ctx, a.makeInitrd)
	return nil
}

func (a *Assembly) makeInitrd(ctx context.Context) error {
	if err := a.mountKernelFilesystems(ctx, initrdDir); err != nil {
		return err
	}
	releases, err := a.box.output(a.box.chroot(ctx, initrdDir, "ls", "/usr/lib/modules"))
	if err != nil {
		return err
	}
	release, err := oneKernel(string(releases))
	if err != nil {
		return err
	}
	if err := a.keepOut(); err != nil {
		return err
	}
	if err := a.box.files.WriteFile(path.Join(initrdDir, "tmp/dracut.conf"), []byte(initrdConfig), 0o644); err != nil {
		return err
	}
	if err := a.box.files.Mkdir(path.Join(initrdDir, "tmp/dracut.conf.d"), 0o755); err != nil {
		return err
	}
	cmd := a.box.chroot(ctx, initrdDir, "dracut", "--conf=/tmp/dracut.conf", "--confdir=/tmp/dracut.conf.d", "--kver="+release,
		"--no-hostonly", "--modules="+strings.Join(modulesOf(a.spec), " "), "--drivers="+strings.Join(initrdDrivers, " "),
		"--install="+strings.Join(initrdPrograms, " "),
		"--install-optional="+initrdLibraries, "--compress=zstd -3 -T0 -q", "--force", "/tmp/initrd.img")
	cmd.Env = append(cmd.Env, fmt.Sprintf("SOURCE_DATE_EPOCH=%d", a.spec.Epoch.Unix()))
	if err := a.box.run(cmd); err != nil {
		return err
	}
	if err := a.cache.put(a.initrdName(), func(w io.Writer) error {
		read := a.box.chroot(ctx, initrdDir, "cat", "/tmp/initrd.img")
		read.Stdout = w
		return a.box.run(read)
	}); err != nil {
		return err
	}
	made, err := a.cache.open(a.initrdName(), 0)
	if err != nil || made == nil {
		return errors.Join(err, os.ErrNotExist)
	}
	defer made.Close()
	if err := a.copyIn(initrdFile, made); err != nil {
		return err
	}
	if err := a.unmountKernelFilesystems(ctx, initrdDir); err != nil {
		return err
	}
	return a.box.run(a.box.command(ctx, "rm", "-rf", "--one-file-system", a.box.path(initrdDir)))
}

// keepOut takes out of the copy of the tree what the initrd shall not have.
func (a *Assembly) keepOut() error {
	for _, name := range initrdWithout {
		if err := a.box.files.Remove(path.Join(initrdDir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, name := range initrdScripts {
		if err := a.box.files.WriteFile(path.Join(initrdDir, name), nil, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// copyIn writes a file of the work directory.
func (a *Assembly) copyIn(name string, r io.Reader) error {
	f, err := a.box.files.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

// oneKernel picks the kernel release; an image with two would boot either.
func oneKernel(listing string) (string, error) {
	releases := strings.Fields(listing)
	switch len(releases) {
	case 1:
		return releases[0], nil
	case 0:
		return "", errors.New("no kernel is installed in the tree")
	default:
		return "", fmt.Errorf("more than one kernel is installed in the tree: %s", strings.Join(releases, ", "))
	}
}

// Initrd waits for the initrd that BaseTree started.
func (a *Assembly) Initrd(ctx context.Context) error {
	return a.step(ctx, stepInitrd, stepVerity, func(ctx context.Context) error {
		if err := a.initrd.wait(ctx); err != nil {
			return fmt.Errorf("cannot make the initrd: %w", err)
		}
		return nil
	})
}
