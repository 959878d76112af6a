package datadisk_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/datadisk"
)

const size = 64 << 20

// machine is a tree that looks like /sys and /dev of a machine.
type machine struct {
	*testing.T
	root string
}

func newMachine(t *testing.T) machine {
	t.Helper()
	return machine{t, t.TempDir()}
}

func (m machine) write(path, content string) {
	m.Helper()
	path = filepath.Join(m.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		m.Fatal(err)
	}
}

// disk adds one with these partitions, and gives the path of its content.
func (m machine) disk(name, id string, bytes int64, partitions ...string) string {
	m.Helper()
	m.write("sys/block/"+name+"/size", fmt.Sprintf("%d\n", bytes/512))
	m.write("sys/block/"+name+"/ro", "0\n")
	for i, label := range partitions {
		uevent := "DEVTYPE=partition\n"
		if label != "" {
			uevent += "PARTNAME=" + label + "\n"
		}
		m.write(fmt.Sprintf("sys/block/%s/%s%d/uevent", name, name, i+1), uevent)
	}
	m.write("dev/"+name, "")
	path := filepath.Join(m.root, "dev", name)
	if err := os.Truncate(path, bytes); err != nil {
		m.Fatal(err)
	}
	if id != "" {
		m.write("dev/disk/by-id/.keep", "")
		os.Remove(filepath.Join(m.root, "dev/disk/by-id/.keep"))
		if err := os.Symlink("../../"+name, filepath.Join(m.root, "dev/disk/by-id", id)); err != nil {
			m.Fatal(err)
		}
	}
	return path
}

func (m machine) run(name string, args ...string) string {
	m.Helper()
	tool, err := exec.LookPath(name)
	if err != nil {
		tool = "/usr/sbin/" + name
	}
	out, err := exec.CommandContext(m.Context(), tool, args...).CombinedOutput()
	if err != nil {
		m.Fatalf("%s: %v: %s", name, err, out)
	}
	return string(out)
}

func selector(t *testing.T, text string) datadisk.Selector {
	t.Helper()
	s, err := datadisk.ParseSelector(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func patch(at int64, content []byte) func(machine, string) {
	return func(m machine, path string) {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			m.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt(content, at); err != nil {
			m.Fatal(err)
		}
	}
}

// arrayAtTheEnd is a superblock of md, version 1.0: 8 KiB before the end of the disk, where we do not look and libblkid does.
func arrayAtTheEnd(m machine, path string) {
	at := int64(size - 8<<10)
	b := make([]byte, 256)
	binary.LittleEndian.PutUint32(b[0:], 0xa92b4efc)
	binary.LittleEndian.PutUint32(b[4:], 1)
	copy(b[16:], "0123456789abcdef")
	binary.LittleEndian.PutUint64(b[144:], uint64(at/512)) // super_offset
	patch(at, b)(m, path)
}

func emptyTable(m machine, path string) {
	table := exec.CommandContext(m.Context(), "sfdisk", "--quiet", path)
	table.Stdin = strings.NewReader("label: gpt\n")
	if out, err := table.CombinedOutput(); err != nil {
		m.Fatalf("sfdisk: %v: %s", err, out)
	}
}

// What is on the disk is what wipefs finds there, and what the kernel would show of it.
func TestJudge(t *testing.T) {
	for name, c := range map[string]struct {
		partitions []string
		fill       func(machine, string)
		want       datadisk.Verdict
		reason     string
	}{
		"zeros":                     {nil, nil, datadisk.Empty, ""},
		"a first boot cut short":    {nil, patch(1<<20, []byte("half a file system")), datadisk.Empty, ""},
		"ours":                      {[]string{"strongroom-vault", "strongroom-audit", "strongroom-var"}, nil, datadisk.Ours, ""},
		"ours and somebody else's":  {[]string{"strongroom-var", "Windows"}, nil, datadisk.Foreign, `"Windows"`},
		"partitions without a name": {[]string{""}, nil, datadisk.Foreign, "not ours"},
		"ext4":                      {nil, func(m machine, path string) { m.run("mkfs.ext4", "-q", "-F", path) }, datadisk.Foreign, "ext4"},
		"swap":                      {nil, func(m machine, path string) { m.run("mkswap", path) }, datadisk.Foreign, "swap"},
		"GPT of NTFS": {[]string{"Basic data partition"}, func(m machine, path string) {
			patch(1<<20, []byte("\xeb\x52\x90NTFS    "))(m, path)
		}, datadisk.Foreign, "Basic data"},
		"an empty GPT":                   {nil, emptyTable, datadisk.Foreign, "gpt"},
		"a LUKS header":                  {nil, patch(0, append([]byte("LUKS\xba\xbe\x00\x01"), make([]byte, 600)...)), datadisk.Foreign, "crypto_LUKS"},
		"an LVM volume":                  {nil, patch(512, []byte("LABELONE\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00 \x00\x00\x00LVM2 001")), datadisk.Foreign, "holds data|not zeros"},
		"an array at the end":            {nil, arrayAtTheEnd, datadisk.Foreign, "linux_raid_member"},
		"what libblkid does not know":    {nil, patch(4096, []byte{1}), datadisk.Foreign, "not zeros"},
		"the last byte of the first MiB": {nil, patch(1<<20-1, []byte{1}), datadisk.Foreign, "not zeros"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			path := m.disk("sda", "ata-ours", size, c.partitions...)
			if c.fill != nil {
				c.fill(m, path)
			}
			signatures := m.run("wipefs", "--no-act", "--noheadings", "--output", "TYPE,OFFSET,LABEL", path)
			verdict, device, err := datadisk.Judge(m.root, selector(t, "id:ata-ours"), []byte(signatures))
			if verdict != c.want || device != "/dev/sda" || (err != nil) != (c.want == datadisk.Foreign) {
				t.Errorf("verdict %d about %s, error %v, want %d; wipefs found %q", verdict, device, err, c.want, signatures)
			}
			if err != nil && !mentions(err.Error(), c.reason) {
				t.Errorf("the reason is %q, want %q", err, c.reason)
			}
		})
	}
}

func mentions(text, any string) bool {
	for _, one := range strings.Split(any, "|") {
		if strings.Contains(text, one) {
			return true
		}
	}
	return false
}

func TestJudgeOfOthers(t *testing.T) {
	t.Run("partitions of ours on another disk", func(t *testing.T) {
		m := newMachine(t)
		m.disk("sda", "ata-ours", size)
		m.disk("sdb", "", size, "strongroom-var")
		if v, _, err := datadisk.Judge(m.root, selector(t, "id:ata-ours"), nil); v != datadisk.Foreign || err == nil || !strings.Contains(err.Error(), "sdb") {
			t.Errorf("verdict %d, error %v", v, err)
		}
	})
	t.Run("a read-only disk", func(t *testing.T) {
		m := newMachine(t)
		m.disk("sda", "ata-ours", size)
		m.write("sys/block/sda/ro", "1\n")
		if v, _, err := datadisk.Judge(m.root, selector(t, "id:ata-ours"), nil); v != datadisk.Foreign || err == nil {
			t.Errorf("verdict %d, error %v", v, err)
		}
	})
}

func TestFind(t *testing.T) {
	m := newMachine(t)
	m.disk("sda", "ata-first", 480_103_981_056/512*512/1024, "")
	m.disk("sdb", "wwn-0x5000c500a1b2c3d4", size)
	m.disk("nvme0n1", "nvme-Samsung_SSD_S6", size, "strongroom-var")
	m.disk("loop0", "", size)
	m.disk("dm-0", "dm-name-root", size)
	m.disk("sdc", "", 0)
	if err := os.Symlink("../../sdb1", filepath.Join(m.root, "dev/disk/by-id/wwn-0x5000c500a1b2c3d4-part1")); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"id:ata-first":                    "/dev/sda",
		"id:wwn-0x5000c500a1b2c3d4":       "/dev/sdb",
		"id:wwn-0x5000c500a1b2c3d4-part1": "no disk is",
		"id:dm-name-root":                 "no disk is",
		"label:strongroom-var":            "/dev/nvme0n1",
		"label:nothing":                   "no disk is",
		"size:64MiB":                      "2 disks are",
		"size:60MiB-70MiB":                "2 disks are",
		"size:400MB-500MB":                "/dev/sda",
		"size:1TB-2TB":                    "no disk is",
	} {
		var device string
		var err error
		synctest.Test(t, func(t *testing.T) { // minutes of looking pass at once
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			device, err = datadisk.Find(ctx, m.root, selector(t, text))
		})
		if got := fmt.Sprint(device, err); !strings.Contains(got, want) {
			t.Errorf("%s is %q, %v, want %q", text, device, err, want)
		}
	}
}

// A disk that comes late is found, and one more of the same size is counted.
func TestFindWaits(t *testing.T) {
	for text, want := range map[string]string{"id:ata-late": "/dev/sdb", "size:64MiB": "2 disks are"} {
		t.Run(text, func(t *testing.T) {
			m := newMachine(t)
			m.disk("sda", "", size)
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				go func() {
					time.Sleep(2 * time.Second)
					m.disk("sdb", "ata-late", size)
				}()
				device, err := datadisk.Find(ctx, m.root, selector(t, text))
				if got := fmt.Sprint(device, err); !strings.Contains(got, want) {
					t.Errorf("found %q, %v, want %q", device, err, want)
				}
			})
		})
	}
	t.Run("udev is busy", func(t *testing.T) {
		m := newMachine(t)
		m.disk("sda", "", size)
		m.write("run/udev/queue", "")
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if device, err := datadisk.Find(ctx, m.root, selector(t, "size:64MiB")); err == nil {
				t.Errorf("found %s while udev was busy", device)
			}
		})
	})
}

func TestParseSelector(t *testing.T) {
	for text, want := range map[string]string{
		"id:nvme-eui.0025385b21404321": "id:nvme-eui.0025385b21404321",
		"label:strongroom-var":         "label:strongroom-var",
		"size:480GB":                   "size:480000000000",
		"size:1GiB-2TB":                "size:1073741824-2000000000000",
		"size:512-1024":                "size:512-1024",
	} {
		if s, err := datadisk.ParseSelector(text); err != nil || s.String() != want {
			t.Errorf("%q is %v, %v, want %s", text, s, err, want)
		}
	}
	for _, text := range []string{"", "id:", "id:../sda", "id:a b", "id:-x", "/dev/sda", "size:", "size:0", "size:2TB-1TB", "size:1XB", "size:1KiB-", "size:99999999999TB", "size:-5", "label:", "label:a/b", "name:x"} {
		if s, err := datadisk.ParseSelector(text); err == nil {
			t.Errorf("%q is taken for %s", text, s)
		}
	}
}

func FuzzParseSelector(f *testing.F) {
	for _, text := range []string{"id:nvme-x", "size:1GB-2GB", "label:strongroom-var", "size:18446744073709551615"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := datadisk.ParseSelector(text)
		if err != nil {
			return
		}
		if strings.ContainsAny(text, " \t\n\"'$`/") {
			t.Errorf("%q could not stand on a command line or below a directory", text)
		}
		if again, err := datadisk.ParseSelector(s.String()); err != nil || again != s {
			t.Errorf("%q is %s, and that is %v, %v", text, s, again, err)
		}
	})
}
