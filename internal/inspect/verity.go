package inspect

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/strongroom/strongroom/internal/inspect/squashfs"
	"github.com/strongroom/strongroom/internal/inspect/verity"
)

// verity verifies the root against its tree of hashes, and the tree against everybody who says which root hash it has.
func (in *inspector) verity(ctx context.Context) {
	if in.options.RootHash != "" {
		in.said = append(in.said, Said{"--root-hash", strings.ToLower(in.options.RootHash)})
	}
	if in.root == nil {
		in.add("root", Unknown, "", "there is no partition for the root of an x86-64 system: what is in the others is not looked into")
		return
	}
	if in.hashes == nil {
		in.noTree("there is no partition with a hash tree: nothing here tells whether the root is what it was")
		return
	}
	s, err := verity.ReadSuperblock(in.hashes)
	if errors.Is(err, verity.ErrNone) {
		in.noTree("%s: %v", in.hashes.name, err)
		return
	} else if err != nil {
		in.add("verity-tree", Fail, in.hashes.name, "%v", err)
		return
	}
	for _, fits := range []struct {
		d    *device
		size int64
		what string
	}{{in.root, s.DataSize(), "data"}, {in.hashes, s.HashSize(), "hashes"}} {
		if fits.size > fits.d.Size() {
			in.add("verity-tree", Fail, in.hashes.name, "the superblock is about %d bytes of %s, and %s has %d", fits.size, fits.what, fits.d.name, fits.d.Size())
			return
		}
	}
	r, err := verity.Verify(ctx, in.root, in.hashes, s)
	if err != nil {
		in.add("verity-tree", Fail, in.hashes.name, "%v", err)
		return
	}
	in.Verity = &Verity{
		RootHash: r.RootHash, Algorithm: s.Algorithm, Salt: hex.EncodeToString(s.Salt), UUID: s.UUID, BlockSize: s.DataBlock, Blocks: s.DataBlocks,
		BadBlocks: r.BadData, BadHashes: r.BadHash, Unverified: r.Unjudged, SaidBy: in.said,
	}
	in.covered(s)
	in.blocks(s, r)
	in.rootHash(r.RootHash)
}

// noTree says that nothing protects the root. An image that promises a root hash must have a tree.
func (in *inspector) noTree(says string, args ...any) {
	if len(in.said) == 0 {
		in.add("verity-tree", Unknown, in.root.name, says, args...)
		return
	}
	in.add("verity-tree", Fail, in.root.name, says+", and %s says that it has the root hash %s", append(args, in.said[0].By, in.said[0].RootHash)...)
}

// covered notes how much of the partitions is under the tree, and looks at the rest.
func (in *inspector) covered(s verity.Superblock) {
	for _, part := range []struct {
		d    *device
		size int64
		id   string
	}{{in.root, s.DataSize(), "verity-data-rest"}, {in.hashes, s.HashSize(), "verity-tree-rest"}} {
		if in.Table != nil {
			for i := range in.Table.Partitions {
				if p := &in.Table.Partitions[i]; fmt.Sprintf("partition %d (%s)", p.Number, p.Label) == part.d.name {
					p.Used = part.size
				}
			}
		}
		if part.d.nonZero == nil {
			continue
		}
		at, found, err := part.d.nonZero(part.size, part.d.Size())
		switch {
		case err != nil:
			in.add(part.id, Fail, part.d.name, "%v", err)
		case found && in.ours:
			in.add(part.id, Fail, part.d.place(at), "something is written behind what the hash tree is about")
		}
	}
}

// blocks says which blocks are bad, and whose they are.
func (in *inspector) blocks(s verity.Superblock, r verity.Result) {
	for _, b := range r.Hashes {
		in.add("verity-tree", Fail, in.hashes.place(b.At), "the block of the hash tree is not what the level above has")
	}
	if r.BadHash > int64(len(r.Hashes)) {
		in.add("verity-tree", Fail, in.hashes.name, "%d blocks of the hash tree are bad in all", r.BadHash)
	}
	if r.BadHash == 0 {
		in.add("verity-tree", Pass, in.hashes.name, "the whole tree of %d blocks holds up to the root hash %s", s.HashSize()/s.HashBlock, r.RootHash)
	}
	for _, b := range r.Data {
		in.add("verity-data", Fail, in.root.place(b.At), "the block is not what the hash tree has%s", in.owners(b.At, s.DataBlock))
	}
	if r.BadData > int64(len(r.Data)) {
		in.add("verity-data", Fail, in.root.name, "%d of %d blocks are bad in all", r.BadData, s.DataBlocks)
	}
	switch {
	case r.Unjudged > 0:
		in.add("verity-data", Unknown, in.root.name, "%d of %d blocks are below a part of the tree that is broken", r.Unjudged, s.DataBlocks)
	case r.BadData == 0:
		in.add("verity-data", Pass, in.root.name, "all %d blocks are what the hash tree has", s.DataBlocks)
	}
}

// owners names the files with content in a block, as far as the broken file system still tells.
func (in *inspector) owners(at, size int64) string {
	f, err := readTree(in.root)
	if err != nil {
		return ": it is part of the file system's own tables"
	}
	defer f.Close()
	var names []string
	for _, n := range f.Owners(at, at+size) {
		names = append(names, "/"+n.Path)
	}
	const few = 4
	switch {
	case len(names) == 0:
		return ": it is no file's, but part of the file system's own tables"
	case len(names) > few:
		return fmt.Sprintf(": it has content of %s and %d more", strings.Join(names[:few], ", "), len(names)-few)
	}
	return ": it has content of " + strings.Join(names, ", ")
}

// readTree reads the names in the root. What the file system says of itself is not believed: a panic is an error.
func readTree(d *device) (f *squashfs.FS, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the file system cannot be read: %v", p)
		}
	}()
	return squashfs.Read(d, d.Size())
}

// rootHash compares the root hash with what was promised.
func (in *inspector) rootHash(got string) {
	if len(in.said) == 0 {
		in.add("verity-root-hash", Unknown, "", "the hash tree has the root hash %s, and nothing in the image says which it should be", got).
			Hint = "name it with --root-hash"
		return
	}
	good := true
	for _, s := range in.said {
		if s.RootHash != got {
			good = false
			in.add("verity-root-hash", Fail, in.hashes.name, "the hash tree has the root hash %s, and %s says %s", got, s.By, s.RootHash)
		}
	}
	if good {
		var by []string
		for _, s := range in.said {
			by = append(by, s.By)
		}
		in.add("verity-root-hash", Pass, "", "%s, as %s says", got, strings.Join(by, ", and "))
	}
}
