// Package install puts the disk image of a netboot bundle onto the disk of the machine that has started from the bundle. What to
// install, and where, is in the command line of the kernel, and signed with it.
package install

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/strongroom/strongroom/internal/datadisk"
)

// Words of the kernel's command line. The unit of the target has all that an installation needs running, and no server.
const (
	diskArgument  = "strongroom.install_disk"
	imageArgument = "strongroom.install_image"
	digestWord    = "strongroom.install_sha256"
	sizeWord      = "strongroom.install_bytes"

	unitArgument = "systemd.unit=strongroom-install.target"
)

// Image is what is installed: the bytes of a disk from the first to the end of the last partition. Behind it a disk of the bake has
// zeros only, and a copy of the partition table, which systemd-repart makes anew where the disk ends.
type Image struct {
	SHA256 string // hex
	Size   int64  // bytes
	Disk   int64  // bytes of the smallest disk that it can be installed to: the partitions of the first start need room
}

// Order is one installation.
type Order struct {
	Disk  datadisk.Selector
	URL   string // of the image
	Image Image
}

// ParseBase reads the URL of the directory with the images.
func ParseBase(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("it is no URL")
	case u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.RawPath != "":
		return nil, fmt.Errorf("%q is not the https URL of a directory, without user, query and fragment", text)
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("\"'$`\\&|;#", r) }):
		return nil, fmt.Errorf("%q has characters that a command line does not keep", text)
	}
	return u, nil
}

// ImageURL is that of a file in the directory.
func ImageURL(base, name string) (string, error) {
	u, err := ParseBase(base)
	if err != nil {
		return "", err
	}
	u.Path = path.Join("/", u.Path, name)
	return u.String(), nil
}

// Arguments are the words of the command line.
func (o Order) Arguments() string {
	return fmt.Sprintf("%s %s=%s %s=%s %s=%s %s=%d,%d", unitArgument, diskArgument, o.Disk, imageArgument, o.URL,
		digestWord, o.Image.SHA256, sizeWord, o.Image.Size, o.Image.Disk)
}

// FromCommandLine reads them, and the root hash of what is to be installed: what is running. Each is there once; which of two was signed,
// nobody could tell.
func FromCommandLine(line string) (o Order, rootHash string, err error) {
	given := map[string][]string{}
	for _, word := range strings.Fields(line) {
		name, value, _ := strings.Cut(word, "=")
		given[name] = append(given[name], value)
	}
	one := func(name string) string {
		if len(given[name]) != 1 {
			err = errors.Join(err, fmt.Errorf("the kernel argument %s is given %d times, and once is right", name, len(given[name])))
			return ""
		}
		return given[name][0]
	}
	selector, digest, sizes := one(diskArgument), one(digestWord), one(sizeWord)
	o.URL, rootHash = one(imageArgument), one("roothash")
	if err != nil {
		return Order{}, "", err
	}
	bad := func(name string, wrong error) (Order, string, error) {
		return Order{}, "", fmt.Errorf("the kernel argument %s: %w", name, wrong)
	}
	if o.Disk, err = datadisk.ParseSelector(selector); err != nil {
		return bad(diskArgument, err)
	}
	if _, err := ParseBase(o.URL); err != nil {
		return bad(imageArgument, err)
	}
	if !isDigest(digest) {
		return bad(digestWord, fmt.Errorf("%q is no SHA-256", digest))
	}
	if !isDigest(rootHash) {
		return bad("roothash", fmt.Errorf("%q is no root hash", rootHash))
	}
	o.Image.SHA256 = digest
	size, disk, _ := strings.Cut(sizes, ",")
	if o.Image.Size, err = parseBytes(size); err == nil {
		o.Image.Disk, err = parseBytes(disk)
	}
	if err != nil {
		return bad(sizeWord, err)
	}
	if o.Image.Size <= head || o.Image.Disk < o.Image.Size+head {
		return bad(sizeWord, fmt.Errorf("an image of %d bytes is not for a disk of %d", o.Image.Size, o.Image.Disk))
	}
	return o, rootHash, nil
}

func isDigest(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// parseBytes reads a number of whole blocks, in bytes.
func parseBytes(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 || n%datadisk.Blocks != 0 || n > 1<<50 {
		return 0, fmt.Errorf("%q is no size in bytes, in whole blocks of %d", text, datadisk.Blocks)
	}
	return n, nil
}

// HashTree is the UUID of the partition that holds the hash tree of a root hash, as the bake gives it and udev shows it.
func HashTree(rootHash string) string {
	h := rootHash[32:64]
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
