package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// ConfigPath is the file that may hold node.hcl. It lies on the data partition and not in /etc, because the root is part
// of the image and the same in all of its clones: an identity there would be shared, and verity would keep it there. The
// partition is one node's own, and whoever prepares its disk can write to it before the first boot.
const ConfigPath = "/var/lib/hostcheck/node.hcl"

// file is for machines to which nothing else can be handed over. Whoever may write it says what the node is, so that
// must have been root.
func (s *Sources) file(context.Context) (Document, error) {
	path := s.path(ConfigPath)
	info, err := os.Lstat(path)
	if isNotExist(err) {
		return Document{}, errNone
	}
	if err != nil {
		return Document{}, fmt.Errorf("cannot read node.hcl: %w", err)
	}
	refuse := func(what, hint string) (Document, error) {
		return Document{}, Hinted(fmt.Errorf("cannot use %s: %s", ConfigPath, what), hint)
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	switch {
	case !info.Mode().IsRegular():
		return refuse("it is not a regular file", "write the file itself, and no link to it")
	case owner != uint32(os.Geteuid()):
		return refuse(fmt.Sprintf("it belongs to user %d", owner), "give it to root")
	case info.Mode().Perm()&0o022 != 0:
		return refuse(fmt.Sprintf("others may write to it (mode %04o)", info.Mode().Perm()), "chmod 0600")
	}
	content, err := readLimited(path, maxConfigSize)
	if err != nil {
		return Document{}, fmt.Errorf("cannot read node.hcl: %w", err)
	}
	if len(bytes.TrimSpace(content)) == 0 {
		return refuse("it is empty", "a node without the file has none")
	}
	return Document{ConfigPath, content}, nil
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
