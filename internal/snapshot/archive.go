package snapshot

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
)

// Content is what an archive says of itself, once all of it has been read and found whole.
type Content struct {
	Index   uint64 `json:"index"`            // of Raft's log
	Term    uint64 `json:"term"`             // of Raft
	Entries int    `json:"entries"`          // of the storage
	Seal    string `json:"seal"`             // "shamir", "transit", …: as the storage has it, which is what a restore meets
	KeyID   string `json:"key_id,omitempty"` // of the seal's key that the root key is wrapped with; empty: the seal has none
	Sealed  bool   `json:"sums_are_sealed"`  // the seal's key vouches for the sums, which only a server with that seal can judge
}

// Both servers read no more than this of the small files.
const maxSmall = 8191

// maxPadding is what may follow the archive inside the compression: the zeroes of a tar.
const maxPadding = 1 << 20

// Verify reads an archive of Vault or OpenBao (a tar in gzip: meta.json, state.bin, SHA256SUMS and SHA256SUMS.sealed) to its end and
// holds it against its own sums, lengths and structure; the storage in it has to be one of a server that was initialized. It keeps a few
// kilobytes. The format is that of hashicorp/raft-snapshot, which has the server write state.bin to a disk to look at it.
func Verify(r io.Reader) (Content, error) {
	content, err := verify(bufio.NewReaderSize(r, 64<<10))
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = fmt.Errorf("it is cut off: %w", err)
	}
	if err != nil {
		return Content{}, fmt.Errorf("the archive is no snapshot: %w", err)
	}
	return content, nil
}

func verify(in *bufio.Reader) (Content, error) {
	var content Content
	unpacked, err := gzip.NewReader(in)
	if err != nil {
		return content, err
	}
	unpacked.Multistream(false)
	archive := tar.NewReader(unpacked)
	var meta struct {
		Index, Term uint64
		Size        int64
	}
	small := map[string][]byte{}
	sums := map[string]hash.Hash{"meta.json": sha256.New(), "state.bin": sha256.New()}
	var state *State
	for {
		head, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return content, err
		}
		if _, twice := small[head.Name]; twice || head.Name == "state.bin" && state != nil {
			return content, fmt.Errorf("%s is there twice", head.Name)
		}
		if head.Typeflag != tar.TypeReg {
			return content, fmt.Errorf("%q is no file", head.Name)
		}
		switch head.Name {
		case "meta.json", "SHA256SUMS", "SHA256SUMS.sealed":
			b, err := io.ReadAll(io.LimitReader(archive, maxSmall+1))
			if err != nil {
				return content, err
			}
			if len(b) > maxSmall {
				return content, fmt.Errorf("%s has more than %d bytes", head.Name, maxSmall)
			}
			small[head.Name] = b
			if head.Name == "meta.json" {
				sums["meta.json"].Write(b)
				if err := json.Unmarshal(b, &meta); err != nil {
					return content, fmt.Errorf("meta.json: %w", err)
				}
			}
		case "state.bin":
			if small["meta.json"] == nil || head.Size != meta.Size {
				return content, fmt.Errorf("state.bin has %d bytes, and meta.json says %d", head.Size, meta.Size)
			}
			read, err := ReadState(io.TeeReader(archive, sums["state.bin"]))
			if err != nil {
				return content, fmt.Errorf("state.bin: %w", err)
			}
			state = &read
		default:
			return content, fmt.Errorf("%q has no place in it", head.Name)
		}
	}
	if err := atEnd(in, unpacked); err != nil {
		return content, err
	}
	if state == nil {
		return content, errors.New("state.bin is missing")
	}
	if err := holdSums(small["SHA256SUMS"], sums); err != nil {
		return content, err
	}
	if meta.Index == 0 || meta.Term == 0 {
		return content, errors.New("meta.json names no index or no term of Raft")
	}
	if err := state.Initialized(); err != nil {
		return content, err
	}
	return Content{Index: meta.Index, Term: meta.Term, Entries: state.Entries, Seal: state.Seal, KeyID: state.KeyID, Sealed: len(small["SHA256SUMS.sealed"]) > 0}, nil
}

// atEnd reads to the end of the compression, where its own sum and length are.
func atEnd(in *bufio.Reader, unpacked io.Reader) error {
	var rest [4096]byte
	for total := 0; ; {
		n, err := unpacked.Read(rest[:])
		if total += n; total > maxPadding || bytes.Trim(rest[:n], "\x00") != nil && len(bytes.Trim(rest[:n], "\x00")) > 0 {
			return errors.New("something follows the archive inside its compression")
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if _, err := in.ReadByte(); err != io.EOF {
		if err == nil {
			err = errors.New("something follows the archive")
		}
		return err
	}
	return nil
}

// holdSums compares what was counted with what the archive lists: each file once, and no other.
func holdSums(list []byte, sums map[string]hash.Hash) error {
	if list == nil {
		return errors.New("SHA256SUMS is missing")
	}
	listed := map[string]bool{}
	for line := range strings.Lines(string(list)) {
		sum, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		counted := sums[name]
		if counted == nil || listed[name] {
			return fmt.Errorf("SHA256SUMS lists %.40q, which is not to be listed there", name)
		}
		listed[name] = true
		if sum != hex.EncodeToString(counted.Sum(nil)) {
			return fmt.Errorf("%s does not have the sum that SHA256SUMS lists", name)
		}
	}
	for name := range sums {
		if !listed[name] {
			return fmt.Errorf("SHA256SUMS does not list %s", name)
		}
	}
	return nil
}
