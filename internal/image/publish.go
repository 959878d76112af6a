package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/strongroom/strongroom/internal/lock"
)

// ManifestName is the file that describes the artifacts beside it.
const ManifestName = "manifest.json"

// ManifestSchema versions the manifest.
const ManifestSchema = "strongroom.image/v1"

// Manifest copies the artifacts beside the output directory, with their digests, and writes
// the manifest.
func (a *Assembly) Manifest(ctx context.Context) error {
	return a.step(ctx, stepManifest, stepConvert, func(ctx context.Context) error {
		if err := a.stage(ctx); err != nil {
			return fmt.Errorf("cannot write the artifacts: %w", err)
		}
		return nil
	})
}

func (a *Assembly) stage(ctx context.Context) error {
	dir := a.StagingDir()
	if err := os.RemoveAll(dir); err != nil { // of a bake that was killed
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	a.staged = true
	disks := disksOf(a.spec.Formats)
	files := make([]File, len(disks))
	group, ctx := errgroup.WithContext(ctx)
	for i, format := range disks {
		group.Go(func() (err error) {
			name := diskName(format)
			files[i], err = a.copyOut(ctx, name, filepath.Join(dir, name))
			files[i].Format, files[i].VirtualSize = format, a.disk.size
			return err
		})
	}
	if len(disks) < len(a.spec.Formats) {
		group.Go(func() error { return a.stageNetboot(ctx, filepath.Join(dir, FormatNetboot)) })
	}
	err := group.Wait()
	if err != nil {
		return err
	}
	a.result.Files = files
	if a.result.Beside, err = a.stageTrust(dir); err != nil {
		return err
	}
	rest := maps.Clone(a.bill)
	rest[lock.Name] = a.lock.Bytes()
	besides, err := writeBeside(dir, rest)
	if err != nil {
		return err
	}
	a.result.Beside = append(a.result.Beside, besides...)
	text, err := json.MarshalIndent(struct {
		Schema string `json:"schema"`
		Result
	}{ManifestSchema, a.result}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, ManifestName), append(text, '\n'), 0o644)
}

// StagingDir is where the artifacts lie between Manifest and Publish. It is beside the output directory, so
// that one rename publishes it with everything in it: also what the caller has added.
func (a *Assembly) StagingDir() string {
	return filepath.Join(filepath.Dir(a.spec.OutputDir), "."+filepath.Base(a.spec.OutputDir)+".partial")
}

// copyOut copies a file of the work directory and hashes it on the way. Holes stay holes.
func (a *Assembly) copyOut(ctx context.Context, name, dst string) (File, error) {
	in, err := a.box.files.Open(name)
	if err != nil {
		return File{}, err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return File{}, err
	}
	defer out.Close()
	size, sum, err := copySparse(ctx, out, in)
	if err != nil {
		return File{}, err
	}
	return File{Name: name, Size: size, SHA256: sum}, out.Close()
}

// copySparse copies without writing blocks of zeros.
func copySparse(ctx context.Context, out *os.File, in io.Reader) (int64, string, error) {
	var size int64
	hash := sha256.New()
	block := make([]byte, mebibyte)
	for {
		n, err := io.ReadFull(in, block)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, "", err
		}
		if n == 0 {
			break
		}
		if err := ctx.Err(); err != nil {
			return 0, "", err
		}
		hash.Write(block[:n])
		if !allZero(block[:n]) {
			if _, err := out.WriteAt(block[:n], size); err != nil {
				return 0, "", err
			}
		}
		size += int64(n)
	}
	return size, hex.EncodeToString(hash.Sum(nil)), out.Truncate(size)
}

var zeros [mebibyte]byte

func allZero(b []byte) bool { return bytes.Equal(b, zeros[:len(b)]) }

// Publish makes the artifacts appear under the output directory's name, all at once.
func (a *Assembly) Publish(ctx context.Context) error {
	return a.step(ctx, stepPublish, stepManifest, func(context.Context) error {
		if err := a.writeLock(); err != nil {
			return err
		}
		if err := a.publish(); err != nil {
			return fmt.Errorf("cannot publish %s: %w", a.spec.OutputDir, err)
		}
		a.staged = false
		a.result.Dir = a.spec.OutputDir
		return nil
	})
}

func (a *Assembly) publish() error {
	staging := a.StagingDir()
	err := unix.Renameat2(unix.AT_FDCWD, staging, unix.AT_FDCWD, a.spec.OutputDir, unix.RENAME_NOREPLACE)
	if !errors.Is(err, unix.EEXIST) || !a.spec.Replace {
		return err
	}
	// Swap, then remove the old one under the staging name: there is no moment without artifacts.
	if err := unix.Renameat2(unix.AT_FDCWD, staging, unix.AT_FDCWD, a.spec.OutputDir, unix.RENAME_EXCHANGE); err != nil {
		return err
	}
	return os.RemoveAll(staging)
}
