package install

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/strongroom/strongroom/internal/datadisk"
)

// head is what of the image is written last: its partition table, and zeros up to the first partition.
const head = 1 << 20

// Disk is where the image goes.
type Disk interface {
	io.ReaderAt
	io.WriterAt
	// Sync returns when what was written is on the disk.
	Sync() error
	// Forget has the next reads ask the disk, and not the memory of this machine.
	Forget() error
}

// SourceError is about what is to be installed, or how it came here. Another attempt may have a better one.
type SourceError struct{ err error }

func (e *SourceError) Error() string { return e.err.Error() }
func (e *SourceError) Unwrap() error { return e.err }

// Write puts an image onto a disk of so many bytes. fetch calls its argument once, with the bytes of the image.
//
// The first block of the disk is the mark of an unfinished installation from the first write to the last. Whatever ends the
// installation in between, a firmware finds nothing to start there, and the next one finds the mark:
//
//  1. the mark, zeros behind it up to the first partition, and zeros where a disk has the copy of its partition table
//  2. the image from its first partition on, as it comes; its digest must be that of the image
//  3. all of that read back from the disk, with the same digest
//  4. the partition table, but for the first block
//  5. the first block, a write that a disk does or does not
func Write(ctx context.Context, disk Disk, size int64, want Image, fetch func(context.Context, func(io.Reader) error) error, say func(string)) error {
	if size < want.Disk {
		return fmt.Errorf("the disk has %d bytes, and the image needs %d: nothing was written", size, want.Disk)
	}
	if err := begin(disk, size); err != nil {
		return fmt.Errorf("cannot begin: %w", err)
	}
	var first []byte
	var failed error
	if err := fetch(ctx, func(r io.Reader) error {
		first, failed = body(ctx, disk, want, r, say)
		return failed
	}); err != nil && failed == nil {
		return &SourceError{err}
	} else if failed != nil {
		return failed
	}
	if err := flush(disk); err != nil {
		return err
	}
	say("what was written is read back")
	if err := compare(ctx, disk, first, want); err != nil {
		return err
	}
	return finish(disk, first)
}

func begin(disk Disk, size int64) error {
	empty := make([]byte, head)
	if _, err := disk.WriteAt(empty, size-head); err != nil {
		return err
	}
	copy(empty, datadisk.UnfinishedMark())
	if _, err := disk.WriteAt(empty, 0); err != nil {
		return err
	}
	return disk.Sync()
}

// body writes what comes, but for the first MiB, which it gives back.
func body(ctx context.Context, disk Disk, want Image, r io.Reader, say func(string)) ([]byte, error) {
	digest := sha256.New()
	next := func(block []byte, at int64) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(r, block)
		if err != nil {
			return &SourceError{fmt.Errorf("the image broke off after %d of %d bytes: %w", at+int64(n), want.Size, err)}
		}
		digest.Write(block)
		return nil
	}
	first, block := make([]byte, head), make([]byte, head)
	if err := next(first, 0); err != nil {
		return nil, err
	}
	for at := int64(head); at < want.Size; at += int64(len(block)) {
		block = block[:min(head, want.Size-at)]
		if err := next(block, at); err != nil {
			return nil, err
		}
		if _, err := disk.WriteAt(block, at); err != nil {
			return nil, fmt.Errorf("cannot write to the disk: %w", err)
		}
		if done := at + int64(len(block)); done%(64<<20) == 0 {
			// Not all of it at the end, when it would have to be in memory until then.
			if err := disk.Sync(); err != nil {
				return nil, fmt.Errorf("cannot write to the disk: %w", err)
			}
			say(fmt.Sprintf("%d of %d MiB are written", done>>20, want.Size>>20))
		}
	}
	switch n, err := io.ReadFull(r, make([]byte, 1)); {
	case n > 0:
		return nil, &SourceError{fmt.Errorf("the image has more than its %d bytes", want.Size)}
	case !errors.Is(err, io.EOF):
		return nil, &SourceError{fmt.Errorf("the image did not end: %w", err)}
	}
	if got := sum(digest); got != want.SHA256 {
		return nil, &SourceError{fmt.Errorf("the image has SHA-256 %s, and %s was baked", got, want.SHA256)}
	}
	return first, nil
}

func flush(disk Disk) error {
	if err := disk.Sync(); err != nil {
		return fmt.Errorf("cannot write to the disk: %w", err)
	}
	if err := disk.Forget(); err != nil {
		return fmt.Errorf("cannot read back from the disk itself: %w", err)
	}
	return nil
}

func compare(ctx context.Context, disk Disk, first []byte, want Image) error {
	digest := sha256.New()
	digest.Write(first)
	block := make([]byte, head)
	for at := int64(head); at < want.Size; at += int64(len(block)) {
		block = block[:min(head, want.Size-at)]
		if err := ctx.Err(); err != nil {
			return err
		}
		if n, err := disk.ReadAt(block, at); n < len(block) {
			return fmt.Errorf("cannot read back from the disk: %w", err)
		}
		digest.Write(block)
	}
	if got := sum(digest); got != want.SHA256 {
		return fmt.Errorf("the disk does not keep what is written to it: it has SHA-256 %s, and %s was written", got, want.SHA256)
	}
	return nil
}

// finish writes the partition table, and makes the disk one to start from when the rest of it has been read back.
func finish(disk Disk, first []byte) error {
	rest := first[datadisk.Blocks:]
	if _, err := disk.WriteAt(rest, datadisk.Blocks); err != nil {
		return fmt.Errorf("cannot write the partition table: %w", err)
	}
	if err := flush(disk); err != nil {
		return err
	}
	again := make([]byte, len(rest))
	if n, err := disk.ReadAt(again, datadisk.Blocks); n < len(again) {
		return fmt.Errorf("cannot read back from the disk: %w", err)
	}
	if !bytes.Equal(rest, again) {
		return errors.New("the disk does not keep what is written to it: its partition table is another one")
	}
	if _, err := disk.WriteAt(first[:datadisk.Blocks], 0); err != nil {
		return fmt.Errorf("cannot write the first block: %w", err)
	}
	if err := disk.Sync(); err != nil {
		return fmt.Errorf("cannot write the first block: %w", err)
	}
	return nil
}

func sum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }
