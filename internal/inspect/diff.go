package inspect

import (
	"bytes"
	"cmp"
	"context"
	"debug/pe"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/inspect/disk"
	"github.com/strongroom/strongroom/internal/inspect/fat"
	"github.com/strongroom/strongroom/internal/inspect/gpt"
	"github.com/strongroom/strongroom/internal/inspect/squashfs"
	"github.com/strongroom/strongroom/internal/overlay"
)

// DiffSchema versions the document.
const DiffSchema = "strongroom.imagediff/v1"

// Diff is what two disks differ in. The formats that they come in make no difference.
type Diff struct {
	Schema    string    `json:"schema"`
	A         string    `json:"a"`
	B         string    `json:"b"`
	Identical bool      `json:"identical"`
	First     *Region   `json:"first,omitempty"` // the first byte that differs
	Regions   []Region  `json:"regions"`         // every part of the disk that differs, with its first byte
	Files     []Change  `json:"files"`           // of the root, by path
	Packages  []Change  `json:"packages"`        // by name
	Controls  []Touched `json:"controls"`        // that own a file that differs
	Owners    []Touched `json:"by_package"`      // packages that own one, where the image still knows
}

// Region is a byte in which a part of the disk differs.
type Region struct {
	Name    string `json:"name"`   // "partition 2 (strongroom-root)", "primary partition table"
	At      int64  `json:"at"`     // byte of disk A
	Offset  int64  `json:"offset"` // byte of the region
	Says    string `json:"says,omitempty"`
	File    string `json:"file,omitempty"`    // that the byte belongs to
	Control string `json:"control,omitempty"` // that owns that file
}

// Change is one thing that is only in one image, or not the same in both.
type Change struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"` // "added", "removed", "changed"
	A       string `json:"a,omitempty"`
	B       string `json:"b,omitempty"`
	Control string `json:"control,omitempty"`
	Package string `json:"package,omitempty"`
}

// Touched is a control or a package, with what of its files differs.
type Touched struct {
	Name  string   `json:"name"`
	Files []string `json:"files"`
}

// side is one of the two images.
type side struct {
	in     *inspector
	disk   *disk.Disk
	table  *gpt.Table
	parts  []gpt.Partition
	owners *overlay.Tree     // by the baseline in the root; nil when it has none
	owning map[string]string // path → package, where dpkg's lists are there
}

// Compare compares the disks of two images.
func Compare(ctx context.Context, a, b string) (*Diff, error) {
	d := &Diff{Schema: DiffSchema, A: a, B: b}
	var sides [2]*side
	for i, name := range []string{a, b} {
		s, err := openSide(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		defer s.in.close()
		sides[i] = s
	}
	at, differs, err := difference(ctx, sides[0].disk, sides[1].disk)
	if err != nil {
		return nil, err
	}
	d.Identical = !differs
	if differs {
		for _, s := range sides {
			s.read(ctx)
		}
		if err := d.compare(ctx, sides[0], sides[1], at); err != nil {
			return nil, err
		}
	}
	d.Regions, d.Files, d.Packages = filled(d.Regions), filled(d.Files), filled(d.Packages)
	d.Controls, d.Owners = filled(d.Controls), filled(d.Owners)
	return d, nil
}

// openSide opens a disk, or the first one of a bake's output directory.
func openSide(name string) (*side, error) {
	in := &inspector{Inspection: &Inspection{}}
	text, err := readLimited(filepath.Join(name, manifestName))
	if err == nil {
		m, err := parseManifest(text)
		if err != nil {
			return nil, err
		}
		if len(m.Files) == 0 {
			return nil, errors.New("it has no disk to compare")
		}
		in.Root = &Root{}
		in.manifestPackages(m)
		name = filepath.Join(name, filepath.FromSlash(m.Files[0].Name))
	}
	d, err := disk.Open(name)
	if err != nil {
		return nil, err
	}
	in.closers = append(in.closers, d)
	return &side{in: in, disk: d}, nil
}

// read reads what of the disk names its bytes. What cannot be read names none.
func (s *side) read(ctx context.Context) {
	table, err := gpt.Read(s.disk, s.disk.Size)
	if err != nil || table.Best() == nil {
		return
	}
	s.table, s.parts = table, table.Best().Partitions
	for _, p := range s.parts {
		if p.Type == typeRoot && s.in.root == nil {
			s.in.root = partitionDevice(s.disk, p)
		}
	}
	if s.in.root == nil {
		return
	}
	tree, err := readTree(s.in.root)
	if err != nil {
		return
	}
	s.in.tree = tree
	listed := s.in.Root
	s.in.Root = &Root{}
	s.in.packages()
	s.in.bills()
	if s.in.Root.PackagesBy != dpkgStatus && listed != nil {
		s.in.Root = listed
	}
	s.owning = dpkgLists(tree)
	if b, _, err := s.in.baseline(); err == nil {
		if owners, err := b.Overlay(); err == nil {
			s.owners = owners
		}
	}
}

// dpkgLists reads which package which path is of.
func dpkgLists(tree *squashfs.FS) map[string]string {
	const dir = "var/lib/dpkg/info"
	owning := map[string]string{}
	list, err := tree.ReadDir(dir)
	if err != nil {
		return owning
	}
	for _, e := range list {
		name, ok := strings.CutSuffix(e.Name(), ".list")
		if !ok {
			continue
		}
		text, err := fs.ReadFile(tree, dir+"/"+e.Name())
		if err != nil {
			continue
		}
		name, _, _ = strings.Cut(name, ":")
		for line := range strings.Lines(string(text)) {
			owning[strings.TrimSpace(line)] = name
		}
	}
	return owning
}

// control is the one that owns a path.
func (s *side) control(path string) string {
	if s.owners == nil {
		return ""
	}
	return s.owners.Owner(path)
}

func (d *Diff) compare(ctx context.Context, a, b *side, at int64) error {
	if err := d.files(ctx, a, b); err != nil {
		return err
	}
	d.packages(a, b)
	if err := d.regions(ctx, a, b, at); err != nil {
		return err
	}
	first := Region{Name: "the disk", At: at, Offset: at}
	if i := slices.IndexFunc(d.Regions, func(r Region) bool { return r.At == at }); i >= 0 {
		first = d.Regions[i]
	} else if at == min(a.disk.Size, b.disk.Size) {
		first.Says = fmt.Sprintf("one disk has %d bytes and the other %d", a.disk.Size, b.disk.Size)
	}
	d.First = &first
	return nil
}

// regions compares the parts of the disks, each with the one of the same name.
func (d *Diff) regions(ctx context.Context, a, b *side, at int64) error {
	if a.table == nil || b.table == nil {
		return nil
	}
	sector := a.table.Sector
	for _, r := range []struct {
		name       string
		start, end int64
	}{{"protective MBR", 0, sector}, {"primary partition table", sector, 34 * sector}} {
		i, differs, err := differs(ctx, io.NewSectionReader(a.disk, r.start, r.end-r.start), io.NewSectionReader(b.disk, r.start, r.end-r.start))
		if err != nil {
			return err
		}
		if differs {
			found := Region{Name: r.name, At: r.start + i, Offset: i}
			if r.start > 0 {
				found.Says = d.tableSays(a, b)
			}
			d.Regions = append(d.Regions, found)
		}
	}
	parts := slices.Clone(a.parts)
	slices.SortFunc(parts, func(x, y gpt.Partition) int { return cmp.Compare(x.Start, y.Start) })
	for _, p := range parts {
		dev := partitionDevice(a.disk, p)
		j := slices.IndexFunc(b.parts, func(q gpt.Partition) bool { return q.Label == p.Label && q.Type == p.Type })
		if j < 0 {
			d.Regions = append(d.Regions, Region{Name: dev.name, At: p.Start, Says: "it is in the first image only"})
			continue
		}
		other := partitionDevice(b.disk, b.parts[j])
		i, different, err := differs(ctx, dev.SectionReader, other.SectionReader)
		if err != nil {
			return err
		}
		if different {
			r := Region{Name: dev.name, At: p.Start + i, Offset: i}
			d.explain(&r, p, a, b, dev, other)
			d.Regions = append(d.Regions, r)
		}
	}
	for _, q := range b.parts {
		if !slices.ContainsFunc(a.parts, func(p gpt.Partition) bool { return q.Label == p.Label && q.Type == p.Type }) {
			d.Regions = append(d.Regions, Region{Name: partitionDevice(b.disk, q).name, At: q.Start, Says: "it is in the second image only"})
		}
	}
	backup := a.disk.Size - 33*sector
	if a.disk.Size == b.disk.Size && at >= backup {
		d.Regions = append(d.Regions, Region{Name: "backup partition table", At: at, Offset: at - backup})
	} else if len(d.Regions) == 0 {
		d.Regions = append(d.Regions, Region{Name: "room that is no partition's", At: at, Offset: at})
	}
	return nil
}

// tableSays names what two tables differ in.
func (d *Diff) tableSays(a, b *side) string {
	x, y := a.table.Best(), b.table.Best()
	var out []string
	if x.Disk != y.Disk {
		out = append(out, "the GUID of the disk")
	}
	for _, p := range x.Partitions {
		i := slices.IndexFunc(y.Partitions, func(q gpt.Partition) bool { return q.Number == p.Number })
		if i < 0 {
			out = append(out, fmt.Sprintf("partition %d is in the first only", p.Number))
			continue
		}
		q := y.Partitions[i]
		for _, field := range []struct {
			name string
			same bool
		}{{"UUID", p.UUID == q.UUID}, {"place", p.Start == q.Start}, {"size", p.Size == q.Size}, {"label", p.Label == q.Label}, {"type", p.Type == q.Type}} {
			if !field.same {
				out = append(out, fmt.Sprintf("%s of partition %d (%s)", field.name, p.Number, p.Label))
			}
		}
	}
	return strings.Join(out, ", ")
}

// explain says what the first different byte of a partition belongs to.
func (d *Diff) explain(r *Region, p gpt.Partition, a, b *side, dev, other *device) {
	switch {
	case p.Type == typeESP:
		r.File, r.Says = espByte(dev, other, r.Offset)
	case p.Type == typeRoot && a.in.tree != nil && b.in.tree != nil:
		r.Says = "the packed content differs from here on"
		if f, control := d.packedHere(a, b, r.Offset); f != "" {
			r.File, r.Control = f, control
		}
	case p.Type == typeRootVerity:
		r.Says = "the hash tree follows the root"
	}
}

// packedHere finds the file that differs and whose content is packed at, or next behind, a byte of the root. Of the files that share
// the fragment there, one that differs is named.
func (d *Diff) packedHere(a, b *side, at int64) (file, control string) {
	type candidate struct {
		place int64
		name  string
	}
	var list []candidate
	for _, c := range d.Files {
		name := strings.TrimPrefix(c.Name, "/")
		for _, s := range []*side{a, b} {
			if n, err := s.in.tree.Look(name); err == nil && n.Mode.IsRegular() {
				if slices.Contains(s.in.tree.Owners(at, at+1), n) {
					return c.Name, c.Control
				}
				if place := s.in.tree.Place(n); place >= at {
					list = append(list, candidate{place, c.Name})
				}
			}
		}
	}
	if len(list) == 0 {
		return "", ""
	}
	first := slices.MinFunc(list, func(x, y candidate) int { return cmp.Compare(x.place, y.place) })
	i := slices.IndexFunc(d.Files, func(c Change) bool { return c.Name == first.name })
	return first.name, d.Files[i].Control
}

// espByte names the file that a byte of the EFI system partition belongs to, and the section of a program.
func espByte(dev, other *device, at int64) (file, says string) {
	f, err := fat.Read(dev, dev.Size())
	if err != nil {
		return "", ""
	}
	for _, x := range f.Files {
		offset, ok := x.Offset(at)
		if !ok {
			continue
		}
		says = fmt.Sprintf("byte %d of the file", offset)
		if p, err := pe.NewFile(x.Reader()); err == nil {
			defer p.Close()
			for _, s := range p.Sections {
				if offset >= int64(s.Offset) && offset < int64(s.Offset)+int64(s.Size) {
					says += ", in section " + s.Name
				}
			}
		}
		if g, err := fat.Read(other, other.Size()); err == nil {
			if y, ok := g.Find(x.Path); ok {
				says += sectionsThatDiffer(x, y)
			}
		}
		return "/" + x.Path, says
	}
	return "", "the file system's own tables"
}

// sectionsThatDiffer lists those of two programs.
func sectionsThatDiffer(x, y *fat.File) string {
	sums := func(f *fat.File) map[string]string {
		k := &kernel{file: f.Reader(), text: map[string]string{}}
		if k.read() != nil {
			return nil
		}
		out := map[string]string{}
		for _, s := range k.Sections {
			out[s.Name] = s.SHA256
		}
		return out
	}
	a, b := sums(x), sums(y)
	if a == nil || b == nil {
		return ""
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if a[name] != b[name] {
			names = append(names, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b)) {
		if _, both := a[name]; !both {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "; all sections are the same"
	}
	return "; sections that differ: " + strings.Join(names, ", ")
}

// files compares the trees.
func (d *Diff) files(ctx context.Context, a, b *side) error {
	if a.in.tree == nil || b.in.tree == nil {
		return nil
	}
	names := map[string]bool{}
	for _, s := range []*side{a, b} {
		for _, n := range s.in.tree.Nodes {
			names[n.Path] = true
		}
	}
	controls, owners := map[string][]string{}, map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		x, errA := a.in.tree.Look(name)
		y, errB := b.in.tree.Look(name)
		path := "/" + strings.TrimPrefix(name, ".")
		c := Change{Name: path, Control: cmp.Or(b.control(path), a.control(path)), Package: cmp.Or(b.owning[path], a.owning[path])}
		switch {
		case errA != nil:
			c.Kind = "added"
		case errB != nil:
			c.Kind = "removed"
		default:
			var err error
			if c.A, c.B, err = changed(a.in.tree, b.in.tree, x, y); err != nil {
				return err
			}
			if c.A == c.B {
				continue
			}
			c.Kind = "changed"
		}
		d.Files = append(d.Files, c)
		if c.Control != "" {
			controls[c.Control] = append(controls[c.Control], path)
		}
		if c.Package != "" {
			owners[c.Package] = append(owners[c.Package], path)
		}
	}
	d.Controls, d.Owners = touched(controls), touched(owners)
	return nil
}

func touched(files map[string][]string) []Touched {
	var out []Touched
	for _, name := range slices.Sorted(maps.Keys(files)) {
		out = append(out, Touched{name, files[name]})
	}
	return out
}

// changed describes two files by what they differ in first; the same description says that they do not.
func changed(a, b *squashfs.FS, x, y *squashfs.Node) (string, string, error) {
	describe := func(n *squashfs.Node) string {
		if n.Mode&fs.ModeSymlink != 0 {
			return fmt.Sprintf("link to %s, %d:%d", n.Target, n.UID, n.GID)
		}
		return fmt.Sprintf("%v %d:%d device %x capability %x", n.Mode, n.UID, n.GID, n.Device, n.Capability)
	}
	p, q := describe(x), describe(y)
	if p != q || !x.Mode.IsRegular() {
		return p, q, nil
	}
	if x.Size != y.Size {
		return fmt.Sprintf("%d bytes", x.Size), fmt.Sprintf("%d bytes", y.Size), nil
	}
	at, different, err := differs(context.Background(), a.Reader(x), b.Reader(y))
	if err != nil || !different {
		return "", "", err
	}
	var one, two [1]byte
	if _, err := a.Reader(x).ReadAt(one[:], at); err != nil {
		return "", "", err
	}
	if _, err := b.Reader(y).ReadAt(two[:], at); err != nil {
		return "", "", err
	}
	return fmt.Sprintf("byte %d is %02x", at, one[0]), fmt.Sprintf("byte %d is %02x", at, two[0]), nil
}

// packages compares the lists of packages.
func (d *Diff) packages(a, b *side) {
	if a.in.Root == nil || b.in.Root == nil {
		return
	}
	versions := func(list []Package) map[string]string {
		out := map[string]string{}
		for _, p := range list {
			out[p.Name] = p.Version
		}
		return out
	}
	x, y := versions(a.in.Root.Packages), versions(b.in.Root.Packages)
	names := maps.Clone(x)
	maps.Copy(names, y)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		c := Change{Name: name, A: x[name], B: y[name], Kind: "changed"}
		switch {
		case c.A == c.B:
			continue
		case c.A == "":
			c.Kind = "added"
		case c.B == "":
			c.Kind = "removed"
		}
		d.Packages = append(d.Packages, c)
	}
}

// differs finds the first byte in which two parts differ. Where one is longer, its end is a difference.
func differs(ctx context.Context, a, b *io.SectionReader) (int64, bool, error) {
	x, y := make([]byte, 256<<10), make([]byte, 256<<10)
	shorter := min(a.Size(), b.Size())
	for at := int64(0); at < shorter; {
		if err := ctx.Err(); err != nil {
			return 0, false, err
		}
		n := min(int64(len(x)), shorter-at)
		for _, s := range []struct {
			r   *io.SectionReader
			buf []byte
		}{{a, x[:n]}, {b, y[:n]}} {
			if _, err := s.r.ReadAt(s.buf, at); err != nil && !errors.Is(err, io.EOF) {
				return 0, false, err
			}
		}
		if !bytes.Equal(x[:n], y[:n]) {
			i := 0
			for x[i] == y[i] {
				i++
			}
			return at + int64(i), true, nil
		}
		at += n
	}
	return shorter, a.Size() != b.Size(), nil
}
