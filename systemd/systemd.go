// Package systemd holds the unit files and their kin that every image carries verbatim, below
// the paths that they have on a host. Values that belong to a control are not here: controls
// render them as drop-ins. A file named X.symlink holds the target of a symbolic link X.
package systemd

import "embed"

// Files is the tree.
//
//go:embed all:usr all:etc
var Files embed.FS
