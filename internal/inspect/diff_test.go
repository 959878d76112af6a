package inspect_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/inspect"
)

func compare(t *testing.T, a, b string) *inspect.Diff {
	t.Helper()
	d, err := inspect.Compare(t.Context(), a, b)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestADiskIsIdenticalToItselfInAnotherFormat(t *testing.T) {
	s := build(t, recipe{version: "1.0.0", unsigned: true})
	out := filepath.Join(t.TempDir(), "disk.qcow2")
	run(t, "", "qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", s.disk, out)
	d := compare(t, s.disk, out)
	if !d.Identical || d.First != nil {
		t.Errorf("%+v", d)
	}
	matches(t, "../../docs/schema/imagediff-v1.json", d)
	again := build(t, recipe{version: "1.0.0", unsigned: true})
	if d := compare(t, s.disk, again.disk); !d.Identical {
		t.Errorf("the same recipe differs: %+v", d.First)
	}
}

// One package has another version: the first difference, and everything that follows from it, has a name.
func TestOnePackageChanged(t *testing.T) {
	owned := ""
	a := build(t, recipe{version: "1.0.0", unsigned: true})
	b := build(t, recipe{version: "1.0.0", unsigned: true, edit: func(t testing.TB, tree string) {
		put(t, tree, "var/lib/dpkg/status", "Package: libc6\nStatus: install ok installed\nVersion: 2.41-2\n")
		put(t, tree, "var/lib/dpkg/info/libc6:amd64.list", "/usr/lib\n/usr/lib/libc.so.6\n")
		put(t, tree, "usr/lib/libc.so.6", "another libc")
		found, err := filepath.Glob(filepath.Join(tree, "usr/lib/sysctl.d/*"))
		if err != nil || len(found) == 0 {
			t.Fatalf("%v, %v", found, err)
		}
		owned = strings.TrimPrefix(found[0], tree)
		if err := os.WriteFile(found[0], []byte("# nothing\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}})
	d := compare(t, a.disk, b.disk)
	matches(t, "../../docs/schema/imagediff-v1.json", d)
	if d.Identical || d.First == nil || d.First.Name != "primary partition table" || !strings.Contains(d.First.Says, "UUID of partition 2 (strongroom-root)") {
		t.Errorf("first: %+v", d.First)
	}
	var names []string
	for _, r := range d.Regions {
		names = append(names, r.Name)
	}
	if want := []string{"primary partition table", "partition 1 (strongroom-esp)", "partition 2 (strongroom-root)", "partition 3 (strongroom-root-verity)"}; !slices.Equal(names, want) {
		t.Errorf("regions %q", names)
	}
	if esp := d.Regions[1]; esp.File != "/EFI/BOOT/BOOTX64.EFI" || !strings.HasSuffix(esp.Says, "sections that differ: .cmdline") {
		t.Errorf("esp: %+v", esp)
	}
	if want := []inspect.Change{{Name: "libc6", Kind: "changed", A: "2.41-1", B: "2.41-2"}}; !slices.Equal(d.Packages, want) {
		t.Errorf("packages: %+v", d.Packages)
	}
	change := func(name string) inspect.Change {
		i := slices.IndexFunc(d.Files, func(c inspect.Change) bool { return c.Name == name })
		if i < 0 {
			t.Errorf("%s is not among %+v", name, d.Files)
			return inspect.Change{}
		}
		return d.Files[i]
	}
	if c := change("/usr/lib/libc.so.6"); c.Kind != "added" || c.Package != "libc6" {
		t.Errorf("%+v", c)
	}
	c := change(owned)
	if c.Kind != "changed" || c.Control == "" {
		t.Errorf("%+v", c)
	}
	if i := slices.IndexFunc(d.Controls, func(x inspect.Touched) bool { return x.Name == c.Control }); i < 0 || !slices.Equal(d.Controls[i].Files, []string{owned}) {
		t.Errorf("controls: %+v", d.Controls)
	}
	if root := d.Regions[2]; root.File == "" {
		t.Errorf("root: %+v", root)
	}
	var out bytes.Buffer
	if err := inspect.WriteDiffText(&out, d, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"differ from byte", "libc6: 2.41-1 → 2.41-2", "of control " + c.Control} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("want %q in\n%s", want, out.String())
		}
	}
}

// A single byte is found wherever it is.
func TestOneByteDiffers(t *testing.T) {
	a := build(t, recipe{version: "1.0.0", unsigned: true})
	b := build(t, recipe{version: "1.0.0", unsigned: true})
	for name, tt := range map[string]struct {
		at   int64
		want string
	}{
		"mbr":   {3, "protective MBR"},
		"table": {1024 + 60, "primary partition table"},
		"esp":   {b.find(t, "esp", "kernelkernel"), "partition 1 (strongroom-esp)"},
		"root":  {b.at["root"] + 120, "partition 2 (strongroom-root)"},
		"tree":  {b.at["verity"] + 4100, "partition 3 (strongroom-root-verity)"},
		"free":  {b.at["verity"] + b.size["verity"] + 7, "room that is no partition's"},
	} {
		old := b.write(t, tt.at, []byte{0xa7})
		d := compare(t, a.disk, b.disk)
		if d.Identical || d.First.At != tt.at || d.First.Name != tt.want {
			t.Errorf("%s: first %+v, want byte %d in %s", name, d.First, tt.at, tt.want)
		}
		b.write(t, tt.at, old)
	}
}
