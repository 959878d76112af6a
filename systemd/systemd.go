// Package systemd holds the unit files and their kin that images carry verbatim, below the paths that they have
// on a host: what lies below usr and etc is in every image, what lies below vault or openbao is in the images of that
// server, without the directory's name. Values that belong to a control are not here: controls render them as
// drop-ins. A file named X.symlink holds the target of a symbolic link X.
package systemd

import "embed"

// Files is the tree.
//
//go:embed all:usr all:etc all:vault all:openbao
var Files embed.FS
