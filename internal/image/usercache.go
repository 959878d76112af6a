package image

import (
	"os"
	"path/filepath"
)

// UserCache is the directory that everything of Strongroom's on this machine keeps its caches in: $STRONGROOM_CACHE, or else strongroom
// in the user's cache directory.
func UserCache() (string, error) {
	if dir := os.Getenv("STRONGROOM_CACHE"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "strongroom"), nil
}
