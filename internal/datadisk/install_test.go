package datadisk_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/datadisk"
)

const hashTree = "01234567-89ab-cdef-0123-456789abcdef"

func TestJudgeInstall(t *testing.T) {
	marked := patch(0, datadisk.UnfinishedMark())
	both := func(all ...func(machine, string)) func(machine, string) {
		return func(m machine, path string) {
			for _, f := range all {
				f(m, path)
			}
		}
	}
	// table is what a power cut in the last writes has left: a table, and the mark where its boot record would be.
	table := both(emptyTable, marked)
	ours := []string{"strongroom-esp", "strongroom-root", "strongroom-root-verity", "strongroom-var"}
	for name, c := range map[string]struct {
		partitions []string
		fill       func(machine, string)
		want       datadisk.Verdict
		reason     string
	}{
		"zeros":                           {nil, nil, datadisk.Empty, ""},
		"unfinished":                      {nil, marked, datadisk.Unfinished, ""},
		"unfinished in the middle":        {nil, both(marked, patch(1<<20, []byte("half an image"))), datadisk.Unfinished, ""},
		"unfinished in the last writes":   {nil, table, datadisk.Unfinished, ""},
		"this image":                      {ours, linkTo("sda3"), datadisk.Installed, ""},
		"another image":                   {ours, nil, datadisk.Foreign, "another image"},
		"this image on another disk":      {ours, linkTo("sdb3"), datadisk.Foreign, "another image"},
		"somebody else's":                 {[]string{"Windows"}, nil, datadisk.Foreign, `"Windows"`},
		"somebody else's over the mark":   {[]string{"Windows"}, marked, datadisk.Foreign, `"Windows"`},
		"ext4":                            {nil, func(m machine, path string) { m.run("mkfs.ext4", "-q", "-F", path) }, datadisk.Foreign, "ext4"},
		"ext4 over the mark":              {nil, both(marked, func(m machine, path string) { m.run("mkfs.ext4", "-q", "-F", path) }), datadisk.Foreign, "ext4"},
		"a table over the mark":           {nil, both(marked, emptyTable), datadisk.Foreign, "gpt"},
		"an array over the mark":          {nil, both(marked, arrayAtTheEnd), datadisk.Foreign, "linux_raid_member"},
		"something unknown over the mark": {nil, both(marked, patch(200<<10, []byte{1})), datadisk.Foreign, "not zeros"},
		"a mark that is not all of it":    {nil, both(marked, patch(511, []byte{1})), datadisk.Foreign, "not zeros"},
		"blocks of 4096 bytes": {nil, func(m machine, _ string) { m.write("sys/block/sda/queue/logical_block_size", "4096\n") }, datadisk.Foreign,
			"4096 bytes"},
		"read-only": {nil, func(m machine, _ string) { m.write("sys/block/sda/ro", "1\n") }, datadisk.Foreign, "read-only"},
		"ours on another disk": {nil, func(m machine, _ string) { m.disk("sdb", "", size, "strongroom-var") }, datadisk.Foreign,
			"sdb has partitions of Strongroom"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			path := m.disk("sda", "ata-ours", size, c.partitions...)
			m.write("sys/block/sda/queue/logical_block_size", "512\n")
			m.write("sys/block/sda/sda3/partition", "3\n")
			if len(c.partitions) < 3 {
				if err := os.RemoveAll(filepath.Join(m.root, "sys/block/sda/sda3")); err != nil {
					t.Fatal(err)
				}
			}
			if c.fill != nil {
				c.fill(m, path)
			}
			signatures := m.run("wipefs", "--no-act", "--noheadings", "--output", "TYPE,OFFSET,LABEL", path)
			verdict, device, err := datadisk.JudgeInstall(m.root, selector(t, "id:ata-ours"), []byte(signatures), hashTree)
			if verdict != c.want || device != "/dev/sda" || (err != nil) != (c.want == datadisk.Foreign) {
				t.Errorf("verdict %d about %s, error %v, want %d; wipefs found %q", verdict, device, err, c.want, signatures)
			}
			if err != nil && !strings.Contains(err.Error(), c.reason) {
				t.Errorf("the reason is %q, want %q", err, c.reason)
			}
			// A node that keeps its data there does not take it for its own.
			if c.want == datadisk.Unfinished {
				if v, _, err := datadisk.Judge(m.root, selector(t, "id:ata-ours"), []byte(signatures)); v != datadisk.Foreign || err == nil {
					t.Errorf("for data, verdict %d, error %v", v, err)
				}
			}
		})
	}
}

// linkTo is udev's link to the partition with the hash tree.
func linkTo(partition string) func(machine, string) {
	return func(m machine, _ string) {
		m.write("dev/disk/by-partuuid/.keep", "")
		if err := os.Symlink("../../"+partition, filepath.Join(m.root, "dev/disk/by-partuuid", hashTree)); err != nil {
			m.Fatal(err)
		}
	}
}
