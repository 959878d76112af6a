package verity_test

import (
	"bytes"
	"testing"

	"github.com/strongroom/strongroom/internal/inspect/verity"
)

func FuzzReadSuperblock(f *testing.F) {
	good := make([]byte, 3*4096)
	copy(good, "verity\x00\x00")
	good[8], good[12] = 1, 1
	copy(good[32:], "sha256")
	good[65], good[69], good[72], good[80] = 0x10, 0x10, 200, 32
	f.Add(good)
	f.Add(good[:100])
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := verity.ReadSuperblock(bytes.NewReader(b))
		if err != nil {
			return
		}
		if s.DataSize() <= 0 || s.HashSize() <= 0 {
			t.Errorf("%+v", s)
		}
		if s.DataSize() > 1<<20 || s.HashSize() > 1<<20 {
			return
		}
		if _, err := verity.Verify(t.Context(), bytes.NewReader(make([]byte, s.DataSize())), bytes.NewReader(b), s); err == nil && s.HashSize() > int64(len(b)) {
			t.Error("a tree that is cut off was verified")
		}
	})
}
