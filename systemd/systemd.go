// Package systemd holds the unit files and their kin that nodes carry verbatim, below the paths that they have
// on a host: what lies below usr is on every node. Leading directories that are named after a server (vault, openbao), a layout
// (sealed, installed), a family of distributions (debian, rhel) how the data lies on the disk (encrypted, clear) or that the journal is shipped (ships) hold what is
// for nodes of that name alone; their names are no part of the path. Values that belong to a control are not here: controls render them as drop-ins. A file named X.symlink
// holds the target of a symbolic link X.
package systemd

import "embed"

// Files is the tree.
//
//go:embed all:usr all:vault all:openbao all:sealed all:debian all:rhel
var Files embed.FS
