// Package verity verifies a dm-verity hash tree and the data below it, as the kernel does block by block: the format is that of
// https://gitlab.com/cryptsetup/cryptsetup/-/wikis/DMVerity.
package verity

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Superblock begins the hash device.
type Superblock struct {
	UUID       string
	Algorithm  string // "sha256", "sha512"
	DataBlock  int64  // bytes
	HashBlock  int64  // bytes
	DataBlocks int64
	Salt       []byte
}

const (
	superblockSize = 512
	maxBlock       = 1 << 16
	maxSalt        = 256
	// The most bad blocks of each device that are told by number.
	told = 8
)

var magic = []byte("verity\x00\x00")

// ErrNone says that a device has no superblock.
var ErrNone = errors.New("there is no dm-verity superblock")

var le = binary.LittleEndian

// ReadSuperblock reads the first bytes of a hash device.
func ReadSuperblock(r io.ReaderAt) (Superblock, error) {
	b := make([]byte, superblockSize)
	if _, err := r.ReadAt(b, 0); err != nil {
		return Superblock{}, fmt.Errorf("cannot read the superblock: %w", err)
	}
	if !bytes.HasPrefix(b, magic) {
		return Superblock{}, ErrNone
	}
	s := Superblock{
		UUID:      fmt.Sprintf("%x-%x-%x-%x-%x", b[16:20], b[20:22], b[22:24], b[24:26], b[26:32]),
		Algorithm: string(bytes.TrimRight(b[32:64], "\x00")),
		DataBlock: int64(le.Uint32(b[64:])), HashBlock: int64(le.Uint32(b[68:])),
	}
	if version, kind := le.Uint32(b[8:]), le.Uint32(b[12:]); version != 1 || kind != 1 {
		return Superblock{}, fmt.Errorf("the superblock has version %d and hash type %d, and only 1 and 1 are known", version, kind)
	}
	if s.newHash() == nil {
		return Superblock{}, fmt.Errorf("the hash algorithm %q of the superblock is not known", s.Algorithm)
	}
	for _, size := range []int64{s.DataBlock, s.HashBlock} {
		if size < 512 || size > maxBlock || size&(size-1) != 0 {
			return Superblock{}, fmt.Errorf("the superblock has blocks of %d bytes", size)
		}
	}
	blocks, salt := le.Uint64(b[72:]), int(le.Uint16(b[80:]))
	if blocks == 0 || blocks > 1<<42 {
		return Superblock{}, fmt.Errorf("the superblock says that there are %d blocks of data", blocks)
	}
	if salt > maxSalt {
		return Superblock{}, fmt.Errorf("the superblock has a salt of %d bytes", salt)
	}
	s.DataBlocks, s.Salt = int64(blocks), b[88:88+salt]
	if !allZero(b[82:88]) || !allZero(b[88+salt:]) {
		return Superblock{}, errors.New("the superblock has bytes that are not zero where it has no field")
	}
	return s, nil
}

func (s Superblock) newHash() func() hash.Hash {
	switch s.Algorithm {
	case "sha256":
		return sha256.New
	case "sha512":
		return sha512.New
	}
	return nil
}

// levels are the sizes of the tree's levels in blocks, the leaves first, and where each begins on the hash device. The last one
// is the root's: one block. Data of a single block has none.
func (s Superblock) levels() (blocks, starts []int64) {
	perBlock := s.perBlock()
	for n := s.DataBlocks; n > 1; {
		n = (n + perBlock - 1) / perBlock
		blocks = append(blocks, n)
	}
	starts = make([]int64, len(blocks))
	at := (superblockSize + s.HashBlock - 1) / s.HashBlock * s.HashBlock
	for i := len(blocks) - 1; i >= 0; i-- {
		starts[i] = at
		at += blocks[i] * s.HashBlock
	}
	return blocks, starts
}

// perBlock is how many digests a block holds. Both sizes are powers of two.
func (s Superblock) perBlock() int64 { return s.HashBlock / int64(s.newHash()().Size()) }

// DataSize is what the tree covers of the data device, in bytes.
func (s Superblock) DataSize() int64 { return s.DataBlocks * s.DataBlock }

// HashSize is what the superblock and the tree take of the hash device, in bytes.
func (s Superblock) HashSize() int64 {
	at := (superblockSize + s.HashBlock - 1) / s.HashBlock * s.HashBlock
	blocks, _ := s.levels()
	for _, n := range blocks {
		at += n * s.HashBlock
	}
	return at
}

// Result says what does not hold.
type Result struct {
	RootHash string  // of the tree as it is, in hex
	Hashes   []Block // blocks of the tree that are not what the level above has, at most a few
	Data     []Block // blocks of data that are not what the tree has, at most a few
	BadData  int64   // how many there are
	BadHash  int64
	Unjudged int64 // blocks of data below a part of the tree that is broken
}

// Block is a block that does not hold.
type Block struct {
	Number int64 // of the data, or within its level
	At     int64 // byte of its device
}

// Sound says whether the whole tree and all data hold, given that the root hash is the expected one.
func (r Result) Sound() bool { return r.BadData == 0 && r.BadHash == 0 && r.Unjudged == 0 }

// salted makes digests of blocks.
type salted struct {
	h    hash.Hash
	salt []byte
	sum  []byte
}

func (s Superblock) salted() *salted { return &salted{h: s.newHash()(), salt: s.Salt} }

// digest is valid until the next call.
func (s *salted) digest(block []byte) []byte {
	s.h.Reset()
	s.h.Write(s.salt)
	s.h.Write(block)
	s.sum = s.h.Sum(s.sum[:0])
	return s.sum
}

// Verify reads the whole tree from its root on, and all data. It says only what the tree says of itself: whether its root hash
// is the one that was promised, the caller compares.
func Verify(ctx context.Context, data, hashes io.ReaderAt, s Superblock) (Result, error) {
	v := verifier{s: s, data: data, hashes: hashes, perBlock: s.perBlock()}
	v.blocks, v.starts = s.levels()
	v.digest = int64(s.newHash()().Size())
	if err := v.root(); err != nil {
		return Result{}, err
	}
	for level := len(v.blocks) - 1; level > 0; level-- {
		if err := v.level(level); err != nil {
			return Result{}, err
		}
	}
	if err := v.leaves(ctx); err != nil {
		return Result{}, err
	}
	byPlace := func(a, b Block) int { return int(a.At - b.At) }
	slices.SortFunc(v.result.Data, byPlace)
	if len(v.result.Data) > told {
		v.result.Data = v.result.Data[:told]
	}
	return v.result, nil
}

type verifier struct {
	s              Superblock
	data, hashes   io.ReaderAt
	blocks, starts []int64
	perBlock       int64
	digest         int64

	bad    map[int64]bool // blocks of the level at hand whose digests are not to be believed
	mu     sync.Mutex
	result Result
}

// root calculates the root hash: the digest of the topmost block.
func (v *verifier) root() error {
	h := v.s.salted()
	device, at, size := v.data, int64(0), v.s.DataBlock
	if n := len(v.blocks); n > 0 {
		device, at, size = v.hashes, v.starts[n-1], v.s.HashBlock
	}
	block := make([]byte, size)
	if _, err := device.ReadAt(block, at); err != nil {
		return fmt.Errorf("cannot read the topmost block at byte %d: %w", at, err)
	}
	v.result.RootHash = hex.EncodeToString(h.digest(block))
	return nil
}

// level compares the blocks of the level below with the digests in this one.
func (v *verifier) level(level int) error {
	h := v.s.salted()
	bad := map[int64]bool{}
	parent, child := make([]byte, v.s.HashBlock), make([]byte, v.s.HashBlock)
	for i := range v.blocks[level-1] {
		if i%v.perBlock == 0 {
			at := v.starts[level] + i/v.perBlock*v.s.HashBlock
			if _, err := v.hashes.ReadAt(parent, at); err != nil {
				return fmt.Errorf("cannot read the hash tree at byte %d: %w", at, err)
			}
		}
		if v.bad[i/v.perBlock] {
			bad[i] = true
			continue
		}
		at := v.starts[level-1] + i*v.s.HashBlock
		if _, err := v.hashes.ReadAt(child, at); err != nil {
			return fmt.Errorf("cannot read the hash tree at byte %d: %w", at, err)
		}
		if !bytes.Equal(h.digest(child), parent[i%v.perBlock*v.digest:][:v.digest]) {
			bad[i] = true
			v.result.BadHash++
			if len(v.result.Hashes) < told {
				v.result.Hashes = append(v.result.Hashes, Block{i, at})
			}
		}
	}
	v.bad = bad
	return nil
}

// leaves compares the data with the digests of the lowest level, on all processors.
func (v *verifier) leaves(ctx context.Context) error {
	if len(v.blocks) == 0 {
		return nil // the one block is the root hash's
	}
	group, ctx := errgroup.WithContext(ctx)
	next := make(chan int64)
	group.Go(func() error {
		defer close(next)
		for i := range v.blocks[0] {
			select {
			case next <- i:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() error { return v.work(next) })
	}
	return group.Wait()
}

func (v *verifier) work(leaves <-chan int64) error {
	h := v.s.salted()
	leaf := make([]byte, v.s.HashBlock)
	data := make([]byte, v.perBlock*v.s.DataBlock)
	for i := range leaves {
		first := i * v.perBlock
		n := min(v.perBlock, v.s.DataBlocks-first)
		if v.bad[i] {
			v.mu.Lock()
			v.result.Unjudged += n
			v.mu.Unlock()
			continue
		}
		at := v.starts[0] + i*v.s.HashBlock
		if _, err := v.hashes.ReadAt(leaf, at); err != nil {
			return fmt.Errorf("cannot read the hash tree at byte %d: %w", at, err)
		}
		if _, err := v.data.ReadAt(data[:n*v.s.DataBlock], first*v.s.DataBlock); err != nil {
			return fmt.Errorf("cannot read the data at byte %d: %w", first*v.s.DataBlock, err)
		}
		for j := range n {
			if !bytes.Equal(h.digest(data[j*v.s.DataBlock:][:v.s.DataBlock]), leaf[j*v.digest:][:v.digest]) {
				v.mu.Lock()
				v.result.BadData++
				v.result.Data = append(v.result.Data, Block{first + j, (first + j) * v.s.DataBlock})
				if len(v.result.Data) > 64*told { // keep the first ones
					slices.SortFunc(v.result.Data, func(a, b Block) int { return int(a.At - b.At) })
					v.result.Data = v.result.Data[:told]
				}
				v.mu.Unlock()
			}
		}
	}
	return nil
}

func allZero(b []byte) bool { return !slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) }
