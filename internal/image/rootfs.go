package image

import (
	"context"
	"fmt"
	"os"
)

// RootFilesystem makes the read-only file system of the sealed tree. docs/decisions/root-filesystem.md
// says why it is squashfs with zstd at level 3.
func (a *Assembly) RootFilesystem(ctx context.Context) error {
	return a.step(ctx, stepRootFilesystem, stepLeakGate, func(ctx context.Context) error {
		err := a.box.run(a.box.command(ctx, rootFilesystemArgs(a.box.path(treeDir), a.box.path("root.squashfs"), a.spec.Epoch.Unix())...))
		if err != nil {
			return fmt.Errorf("cannot make the root file system: %w", err)
		}
		return padTo(a.box.files, "root.squashfs", verityBlock)
	})
}

// rootFilesystemArgs is the argv of mksquashfs. It sorts directories by itself, and its times are the
// epoch. Extended attributes stay out: they would be file capabilities, which are set-id bits by another name.
func rootFilesystemArgs(tree, out string, epoch int64) []string {
	return []string{
		"mksquashfs", tree, out, "-noappend", "-no-progress", "-quiet", "-no-xattrs", "-exports",
		"-comp", "zstd", "-Xcompression-level", "3", "-b", "128K",
		"-mkfs-time", fmt.Sprint(epoch), "-all-time", fmt.Sprint(epoch),
	}
}

// padTo fills a file with zeros to a multiple of a block.
func padTo(root *os.Root, name string, block int64) error {
	f, err := root.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	return f.Truncate(alignUp(st.Size(), block))
}

func alignUp(n, block int64) int64 { return (n + block - 1) / block * block }
