package plain

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	_ "embed" // the script
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"
)

// The build user, with the rights that a cloud gives its first user.
const (
	User    = "build"
	buildID = "1000"
)

// Fixed, so that the script needs nothing of the host's udev.
const (
	rootUUID  = "6f0c5bd4-1a7e-4a55-9a0f-3c1f5f9a7b10"
	espSerial = "5742a001"
	espUUID   = "5742-A001"
)

// RootOffset is where on the disk the root file system begins, in bytes: for a look with debugfs(8).
const RootOffset = 128 << 20

//go:embed disk.sh
var diskScript string

// Image is the disk of a machine that was never booted, and the key of its build user.
type Image struct {
	Suite   string
	Disk    string // raw
	KeyFile string // private key, for `ssh -i` and Packer's ssh_private_key_file
	signer  ssh.Signer
}

// Bake makes an image below dir, from a tree that is kept in the cache directory.
func Bake(ctx context.Context, suite, dir, cache string, log *slog.Logger) (*Image, error) {
	image, err := bake(ctx, suite, dir, cache, log)
	if err != nil {
		return nil, fmt.Errorf("cannot make a machine with Debian %s: %w", suite, err)
	}
	return image, nil
}

func bake(ctx context.Context, suite, dir, cache string, log *slog.Logger) (*Image, error) {
	packages, err := tree(ctx, suite, cache, log)
	if err != nil {
		return nil, err
	}
	image := &Image{Suite: suite, Disk: filepath.Join(dir, suite+".raw"), KeyFile: filepath.Join(dir, suite+".key")}
	authorized, err := image.makeKey()
	if err != nil {
		return nil, err
	}
	files, err := ownFiles(authorized)
	if err != nil {
		return nil, err
	}
	further := filepath.Join(dir, suite+".files.tar")
	if err := os.WriteFile(further, files, 0o600); err != nil {
		return nil, err
	}
	defer os.Remove(further)
	script := []string{"--mount", "--pid", "--fork", "--kill-child", "--", "sh", "-c", diskScript, "disk.sh", packages, further, image.Disk, rootUUID, espSerial}
	if os.Geteuid() != 0 {
		script = append([]string{"--user", "--map-root-user", "--map-auto"}, script...)
	}
	cmd := exec.CommandContext(ctx, "unshare", script...)
	// An ordinary user's PATH often lacks sbin.
	cmd.Env = append(os.Environ(), "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8")
	return image, run(cmd)
}

// makeKey writes the private key of the build user and returns the line for its authorized_keys.
func (i *Image) makeKey() (authorized []byte, err error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	if i.signer, err = ssh.NewSignerFromKey(private); err != nil {
		return nil, err
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return nil, err
	}
	return ssh.MarshalAuthorizedKey(key), os.WriteFile(i.KeyFile, pem.EncodeToMemory(block), 0o600)
}

// ownFiles is what an installer writes after it has unpacked the packages, as a tar.
func ownFiles(authorized []byte) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	owner, err := strconv.Atoi(buildID)
	if err != nil {
		return nil, err
	}
	write := func(name string, mode int64, id int, content string) error {
		kind := byte(tar.TypeReg)
		if content == "" {
			kind = tar.TypeDir
		}
		header := &tar.Header{Typeflag: kind, Name: name, Mode: mode, Uid: id, Gid: id, Size: int64(len(content)), ModTime: time.Unix(0, 0)}
		if err := w.WriteHeader(header); err != nil {
			return err
		}
		_, err := w.Write([]byte(content))
		return err
	}
	err = errors.Join(
		write("etc/hostname", 0o644, 0, "plain\n"),
		write("etc/hosts", 0o644, 0, "127.0.0.1 localhost\n127.0.1.1 plain\n"),
		write("etc/fstab", 0o644, 0, "UUID="+rootUUID+" / ext4 errors=remount-ro 0 1\nUUID="+espUUID+" /boot/efi vfat umask=0077 0 1\n"),
		write("etc/systemd/network/50-dhcp.network", 0o644, 0, "[Match]\nType=ether\n\n[Network]\nDHCP=yes\n"),
		write("etc/default/grub.d/50-serial.cfg", 0o644, 0,
			"GRUB_TIMEOUT=0\nGRUB_TERMINAL=console\nGRUB_CMDLINE_LINUX_DEFAULT=\nGRUB_CMDLINE_LINUX=console=ttyS0\n"),
		write("etc/sudoers.d/90-build", 0o440, 0, User+" ALL=(ALL) NOPASSWD: ALL\n"),
		write("home/"+User+"/.ssh/", 0o700, owner, ""),
		write("home/"+User+"/.ssh/authorized_keys", 0o600, owner, string(authorized)),
		w.Close())
	return out.Bytes(), err
}
