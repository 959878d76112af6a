// Package digest measures what may have gigabytes: disks, bundles, the files of an output directory.
package digest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
)

// Of reads to the end and gives the SHA-256, in lowercase hex, and the number of bytes. It ends with its context, between two reads.
func Of(ctx context.Context, r io.Reader) (sum string, size int64, err error) {
	hash := sha256.New()
	// In large pieces: neither side may take the copy over with buffers of its own.
	size, err = io.CopyBuffer(struct{ io.Writer }{hash}, reader{ctx, r}, make([]byte, 1<<20))
	if err != nil {
		return "", size, err
	}
	return hex.EncodeToString(hash.Sum(nil)), size, nil
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
