package install_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/strongroom/strongroom/internal/datadisk"
	"github.com/strongroom/strongroom/internal/install"
)

// baked is an image: a partition table, and a body that is no whole number of MiB.
func baked() ([]byte, install.Image) {
	content := make([]byte, 3<<20+4096)
	for i := range content {
		if i < 34*datadisk.Blocks || i >= 1<<20 {
			content[i] = byte(i*7 + i>>12)
		}
	}
	sum := sha256.Sum256(content)
	return content, install.Image{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(content)), Disk: 8 << 20}
}

// disk is one in a file, on which the power may go at a write: that write is not done, or half of it, and nothing behind it.
type disk struct {
	*os.File
	writes  int
	powerAt int // the write at which it goes; 0 for never
	half    bool
	rotten  int64 // a byte that is not kept
	synced  bool
}

var errPower = errors.New("the power is gone")

func newDisk(t *testing.T, size int64) *disk {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return &disk{File: f}
}

func (d *disk) WriteAt(p []byte, at int64) (int, error) {
	d.writes++
	d.synced = false
	if d.powerAt > 0 && d.writes >= d.powerAt {
		// A block is written or not.
		if half := len(p) / 2 / datadisk.Blocks * datadisk.Blocks; d.writes == d.powerAt && d.half {
			_, _ = d.File.WriteAt(p[:half], at)
		}
		return 0, errPower
	}
	n, err := d.File.WriteAt(p, at)
	if d.rotten >= at && d.rotten < at+int64(n) && d.rotten > 0 {
		_, _ = d.File.WriteAt([]byte{^p[d.rotten-at]}, d.rotten)
	}
	return n, err
}

func (d *disk) Sync() error   { d.synced = true; return nil }
func (d *disk) Forget() error { return nil }

func (d *disk) content(t *testing.T, n int64) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := d.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

func from(r io.Reader) func(context.Context, func(io.Reader) error) error {
	return func(_ context.Context, take func(io.Reader) error) error { return take(r) }
}

func quiet(string) {}

func write(t *testing.T, d *disk, want install.Image, r io.Reader) error {
	t.Helper()
	st, err := d.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return install.Write(t.Context(), d, st.Size(), want, from(r), quiet)
}

// startable is what a firmware or a kernel asks of a first block before it looks for a table behind it.
func startable(first []byte) bool {
	return !bytes.Equal(first[:datadisk.Blocks], datadisk.UnfinishedMark())
}

func TestWrite(t *testing.T) {
	content, want := baked()
	d := newDisk(t, 8<<20)
	if _, err := d.File.WriteAt([]byte("EFI PART"), 8<<20-512); err != nil {
		t.Fatal(err)
	}
	if err := write(t, d, want, iotest.OneByteReader(bytes.NewReader(content))); err != nil {
		t.Fatal(err)
	}
	if !d.synced {
		t.Error("the last write is not on the disk for certain")
	}
	if !bytes.Equal(d.content(t, want.Size), content) {
		t.Error("what is on the disk is not the image")
	}
	last := make([]byte, 1<<20)
	if _, err := d.ReadAt(last, 7<<20); err != nil || !bytes.Equal(last, make([]byte, 1<<20)) {
		t.Errorf("a copy of an older partition table is still there (%v)", err)
	}
}

// The power goes at each write, before it or in its middle. The disk starts nothing then, is one to begin anew on, and gets the image
// the next time.
func TestPowerCut(t *testing.T) {
	content, want := baked()
	whole := newDisk(t, 8<<20)
	if err := write(t, whole, want, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	for at := 1; at <= whole.writes; at++ {
		for _, half := range []bool{false, true} {
			t.Run(fmt.Sprintf("write %d half %t", at, half), func(t *testing.T) {
				d := newDisk(t, 8<<20)
				d.powerAt, d.half = at, half
				if err := write(t, d, want, bytes.NewReader(content)); !errors.Is(err, errPower) {
					t.Fatalf("error %v", err)
				}
				verdict := judge(t, d)
				first := d.content(t, 1<<20)
				if begun := !bytes.Equal(first, make([]byte, 1<<20)); begun && (startable(first) || verdict != datadisk.Unfinished) || !begun && verdict != datadisk.Empty {
					t.Errorf("verdict %d of a disk that begins with %.60q", verdict, first)
				}
				d.powerAt = 0
				if err := write(t, d, want, bytes.NewReader(content)); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(d.content(t, want.Size), content) {
					t.Error("what is on the disk is not the image")
				}
			})
		}
	}
	if whole.writes < 6 {
		t.Errorf("only %d writes", whole.writes)
	}
}

// judge is what the next start thinks of the disk.
func judge(t *testing.T, d *disk) datadisk.Verdict {
	t.Helper()
	root := t.TempDir()
	for name, content := range map[string]string{"size": "16384", "ro": "0", "queue/logical_block_size": "512"} {
		path := filepath.Join(root, "sys/block/sda", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(root, "dev"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(d.Name(), filepath.Join(root, "dev/sda")); err != nil {
		t.Fatal(err)
	}
	selector, err := datadisk.ParseSelector("size:1MB-1GB")
	if err != nil {
		t.Fatal(err)
	}
	verdict, _, err := datadisk.JudgeInstall(root, selector, nil, "0")
	if err != nil {
		t.Error(err)
	}
	return verdict
}

// An image that is not the one of the bake is written, in part or whole, and never started.
func TestWrongImage(t *testing.T) {
	content, want := baked()
	flipped := bytes.Clone(content)
	flipped[2<<20] ^= 1
	early := bytes.Clone(content)
	early[3] ^= 1
	for name, c := range map[string]struct {
		image io.Reader
		says  string
	}{
		"one byte of the body":       {bytes.NewReader(flipped), "was baked"},
		"one byte of the first MiB":  {bytes.NewReader(early), "was baked"},
		"broken off":                 {bytes.NewReader(content[:2<<20+17]), "broke off after 2097169 of 3149824 bytes"},
		"broken off at the last one": {bytes.NewReader(content[:len(content)-1]), "broke off"},
		"nothing":                    {strings.NewReader(""), "broke off after 0 of"},
		"one byte more":              {io.MultiReader(bytes.NewReader(content), strings.NewReader("x")), "more than its"},
		"a server that dies":         {io.MultiReader(bytes.NewReader(content[:2<<20]), iotest.ErrReader(errors.New("connection reset"))), "connection reset"},
		"one that dies at the end":   {io.MultiReader(bytes.NewReader(content), iotest.ErrReader(errors.New("connection reset"))), "did not end"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t, 8<<20)
			err := write(t, d, want, c.image)
			var source *install.SourceError
			if !errors.As(err, &source) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want one of the image: %s", err, c.says)
			}
			if startable(d.content(t, 1<<20)) || judge(t, d) != datadisk.Unfinished {
				t.Error("something could start from the disk")
			}
		})
	}
}

func TestDiskThatDoesNotKeep(t *testing.T) {
	content, want := baked()
	for _, at := range []int64{600, 1<<20 - 1, 1 << 20, 3<<20 + 4095} {
		d := newDisk(t, 8<<20)
		d.rotten = at
		err := write(t, d, want, bytes.NewReader(content))
		var source *install.SourceError
		if err == nil || !strings.Contains(err.Error(), "does not keep") || errors.As(err, &source) {
			t.Errorf("byte %d: error %v", at, err)
		}
		if startable(d.content(t, 1<<20)) {
			t.Errorf("byte %d: something could start from the disk", at)
		}
	}
}

func TestDiskTooSmall(t *testing.T) {
	content, want := baked()
	d := newDisk(t, 8<<20-512)
	if err := write(t, d, want, bytes.NewReader(content)); err == nil || !strings.Contains(err.Error(), "nothing was written") {
		t.Errorf("error %v", err)
	}
	if d.writes > 0 {
		t.Errorf("%d writes", d.writes)
	}
}

func TestRepeat(t *testing.T) {
	content, want := baked()
	d := newDisk(t, 8<<20)
	var pauses []time.Duration
	after := func(p time.Duration) <-chan time.Time {
		pauses = append(pauses, p)
		c := make(chan time.Time, 1)
		c <- time.Time{}
		return c
	}
	var said []string
	attempt := 0
	err := install.Repeat(t.Context(), after, func(text string) { said = append(said, text) }, func() error {
		attempt++
		if attempt == 1 {
			return install.Write(t.Context(), d, 8<<20, want, func(context.Context, func(io.Reader) error) error { return errors.New("no route to host") }, quiet)
		}
		return write(t, d, want, bytes.NewReader(content[:min(len(content), attempt<<20)]))
	})
	if err != nil || attempt != 4 || fmt.Sprint(pauses) != "[5s 10s 20s]" || len(said) != 3 || !strings.Contains(said[0], "no route to host; once more in 5s") {
		t.Errorf("%d attempts, pauses %v, error %v, said %q", attempt, pauses, err, said)
	}
	if err := install.Repeat(t.Context(), after, quiet, func() error { return errPower }); !errors.Is(err, errPower) {
		t.Errorf("error %v: a disk gets better", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	never := func(time.Duration) <-chan time.Time { cancel(); return nil }
	if err := install.Repeat(ctx, never, quiet, func() error { return write(t, d, want, strings.NewReader("")) }); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func anOrder(t testing.TB) install.Order {
	t.Helper()
	selector, err := datadisk.ParseSelector("id:nvme-x")
	if err != nil {
		t.Fatal(err)
	}
	_, image := baked()
	url, err := install.ImageURL("https://images.example.net:8443/2026.11.1/", "disk-0123456789abcdef.img")
	if err != nil {
		t.Fatal(err)
	}
	return install.Order{Disk: selector, URL: url, Image: image}
}

var rootHash = strings.Repeat("0123456789abcdef", 4)

func TestCommandLine(t *testing.T) {
	o := anOrder(t)
	if o.URL != "https://images.example.net:8443/2026.11.1/disk-0123456789abcdef.img" {
		t.Errorf("URL %s", o.URL)
	}
	line := "roothash=" + rootHash + " ro console=ttyS0 " + o.Arguments() + "\n"
	got, hash, err := install.FromCommandLine(line)
	if err != nil || got != o || hash != rootHash {
		t.Errorf("%+v, %s, %v of %q", got, hash, err, line)
	}
	if got := install.HashTree(rootHash); got != "01234567-89ab-cdef-0123-456789abcdef" {
		t.Errorf("hash tree %s", got)
	}
	for name, bad := range map[string]string{
		"twice":              line + " strongroom.install_disk=id:other",
		"two root hashes":    line + " roothash=" + rootHash,
		"no digest":          strings.Replace(line, "install_sha256", "install_md5", 1),
		"a short digest":     strings.Replace(line, "install_sha256="+o.Image.SHA256, "install_sha256=abc", 1),
		"no disk":            strings.Replace(line, "id:nvme-x", "/dev/sda", 1),
		"no https":           strings.Replace(line, "https:", "http:", 1),
		"a user":             strings.Replace(line, "images.", "me:secret@images.", 1),
		"one size":           strings.Replace(line, fmt.Sprint(o.Image.Size, ","), fmt.Sprint(o.Image.Size, " "), 1),
		"a size of nothing":  strings.Replace(line, fmt.Sprintf("=%d,", o.Image.Size), "=0,", 1),
		"a disk too small":   strings.Replace(line, fmt.Sprint(o.Image.Disk), fmt.Sprint(o.Image.Size), 1),
		"no root hash":       strings.Replace(line, "roothash=", "roothosh=", 1),
		"half a root hash":   strings.Replace(line, rootHash, rootHash[:32], 1),
		"a size of half one": strings.Replace(line, fmt.Sprint(o.Image.Disk), "8388609", 1),
	} {
		if bad == line {
			t.Errorf("%s: nothing is changed", name)
		} else if o, _, err := install.FromCommandLine(bad); err == nil {
			t.Errorf("%s: %+v", name, o)
		}
	}
	for _, base := range []string{"", "http://x/", "https://", "https://x/?a=b", "https://x/#y", "https://u@x/", "https://x/a b", "https://x/${net0/mac}", "https://x/%2f"} {
		if u, err := install.ParseBase(base); err == nil {
			t.Errorf("%q is %s", base, u)
		}
	}
}

func FuzzFromCommandLine(f *testing.F) {
	line := "roothash=" + rootHash + " " + anOrder(f).Arguments()
	f.Add(line)
	f.Add(strings.Replace(line, "id:nvme-x", "size:1GB-2GB", 1))
	f.Add(line + " " + line)
	f.Fuzz(func(t *testing.T, line string) {
		o, hash, err := install.FromCommandLine(line)
		if err != nil {
			return
		}
		again, same, err := install.FromCommandLine("roothash=" + hash + " " + o.Arguments())
		if err != nil || again != o || same != hash {
			t.Errorf("%q is %+v, and its own words are %+v, %v", line, o, again, err)
		}
		if uuid := install.HashTree(hash); len(uuid) != 36 {
			t.Errorf("%q is no UUID", uuid)
		}
	})
}
