// Package overlayfile writes an overlay as the files that somebody else's installer fetches: the tar, its SHA-256 and a
// signature, each of which it can check with what every installer has (tar, sha256sum, gpgv).
package overlayfile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/strongroom/strongroom/internal/atomicfile"
	"github.com/strongroom/strongroom/internal/overlay"
	"github.com/strongroom/strongroom/internal/sign"
)

// Suffixes of the files beside the tar.
const (
	SumSuffix       = ".sha256" // as sha256sum writes it
	SignatureSuffix = ".sig"    // as gpgv takes it
)

// Write writes the tar to path, compressed if the name ends in ".zst", its sum and, with a signer, its signature beside it.
// It returns the SHA-256 of the file. The same tree and key give the same bytes. The tar comes last: who finds a new
// tar finds the sum and the signature that belong to it.
func Write(path string, tree *overlay.Tree, signer sign.Signer) (string, error) {
	content, err := tree.Tar()
	if err != nil {
		return "", err
	}
	if strings.HasSuffix(path, ".zst") {
		if content, err = compress(content); err != nil {
			return "", err
		}
	}
	raw := sha256.Sum256(content)
	sum := hex.EncodeToString(raw[:])
	if signer != nil {
		var signature bytes.Buffer
		if err := signer.Sign(&signature, bytes.NewReader(content)); err != nil {
			return "", err
		}
		if err := write(path+SignatureSuffix, signature.Bytes()); err != nil {
			return "", err
		}
	}
	if err := write(path+SumSuffix, fmt.Appendf(nil, "%s  %s\n", sum, filepath.Base(path))); err != nil {
		return "", err
	}
	return sum, write(path, content)
}

// compress gives the same bytes for the same input: one worker, and neither time nor name in the format.
func compress(content []byte) ([]byte, error) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	return encoder.EncodeAll(content, nil), encoder.Close()
}

func write(path string, content []byte) error {
	return atomicfile.Write(path, 0o644, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}
