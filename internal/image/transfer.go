package image

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path"
	"strconv"
)

// Command is a program of the tree, run in the tree as its root, in the sandbox's namespaces. The
// argv reaches it as it is: no shell reads it. It shares the host's network. Its streams are
// the caller's to set. The time that programs shall write down, such as systemd-sysusers into /etc/shadow, is the image's.
func (a *Assembly) Command(ctx context.Context, argv ...string) *exec.Cmd {
	cmd := a.box.chroot(ctx, treeDir, argv...)
	cmd.Env = append(cmd.Env, fmt.Sprintf("SOURCE_DATE_EPOCH=%d", a.spec.Epoch.Unix()))
	cmd.Dir = "/"
	return cmd
}

// Upload writes a file in the tree. Links on the way, and a link that dst is, are resolved inside
// the tree.
func (a *Assembly) Upload(ctx context.Context, dst string, mode fs.FileMode, r io.Reader) error {
	if err := a.box.run(a.Command(ctx, "mkdir", "-p", "--", path.Dir(dst))); err != nil {
		return err
	}
	write := a.Command(ctx, "tee", "--", dst)
	write.Stdin, write.Stdout = r, io.Discard
	if err := a.box.run(write); err != nil {
		return err
	}
	return a.box.run(a.Command(ctx, "chmod", strconv.FormatUint(uint64(mode.Perm()), 8), "--", dst))
}

// Download reads a file of the tree.
func (a *Assembly) Download(ctx context.Context, src string, w io.Writer) error {
	read := a.Command(ctx, "cat", "--", src)
	read.Stdout = w
	return a.box.run(read)
}

// UploadTar unpacks a tar stream below a directory of the tree, which is made when it is missing.
func (a *Assembly) UploadTar(ctx context.Context, dir string, r io.Reader) error {
	if err := a.box.run(a.Command(ctx, "mkdir", "-p", "--", dir)); err != nil {
		return err
	}
	return a.unpackInTree(ctx, dir, r)
}

// DownloadTar writes what is below a directory of the tree as a tar stream.
func (a *Assembly) DownloadTar(ctx context.Context, dir string, w io.Writer) error {
	read := a.Command(ctx, "tar", "--create", "--directory="+dir, "--numeric-owner", "--sort=name", "--file=-", ".")
	read.Stdout = w
	return a.box.run(read)
}

// unpackInTree runs the tree's own tar in the tree, so that an absolute link in the tree cannot
// lead it out onto the host. A directory that is a link, such as /lib, stays one.
func (a *Assembly) unpackInTree(ctx context.Context, dir string, r io.Reader) error {
	unpack := a.Command(ctx, "tar", "--extract", "--directory="+dir, "--numeric-owner", "--preserve-permissions", "--keep-directory-symlink", "--file=-")
	unpack.Stdin = r
	return a.box.run(unpack)
}

// Inspect is a program of the host that looks at the tree, in the sandbox. The arguments are made
// from the tree's path there: the host's files are visible to it, the tree is not visible to the host.
func (a *Assembly) Inspect(ctx context.Context, argv func(tree string) []string) *exec.Cmd {
	return a.box.command(ctx, argv(a.box.path(treeDir))...)
}
