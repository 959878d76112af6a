package inspect

import (
	"bufio"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/distribution"
	"github.com/strongroom/strongroom/internal/inspect/squashfs"
)

// rootFileSystem looks at what is in the root.
func (in *inspector) rootFileSystem(ctx context.Context) {
	if in.root == nil {
		return
	}
	f, err := readTree(in.root)
	if errors.Is(err, squashfs.ErrNone) {
		in.add("root", Unknown, in.root.name, "the root is %s: only squashfs is looked into", probe(in.root.SectionReader))
		return
	}
	if err != nil {
		in.add("root", Fail, in.root.name, "%v", err)
		return
	}
	in.tree = f
	r := &Root{FileSystem: "squashfs (" + f.Compression + ")", PackedBytes: f.Bytes}
	in.Root = r
	if text, err := in.readFile("usr/lib/os-release"); err == nil {
		fields := distribution.ReadRelease(string(text))
		r.ImageID, r.Version, r.System = fields["IMAGE_ID"], fields["IMAGE_VERSION"], fields["PRETTY_NAME"]
	}
	for _, n := range f.Nodes {
		r.Files++
		if n.Mode.IsRegular() {
			r.Bytes += n.Size
		}
		if p, ok := privileged(n); ok {
			r.Privileged = append(r.Privileged, p)
		}
	}
	slices.SortFunc(r.Privileged, func(a, b Privileged) int { return strings.Compare(a.Path, b.Path) })
	r.Directories = directories(f)
	in.units()
	in.packages()
	in.bills()
	in.add("root", Pass, in.root.name, "squashfs with %d files, directories and links", r.Files)
	in.hardening(ctx)
	in.leaks(ctx)
}

// readFile reads a small file of the tree.
func (in *inspector) readFile(name string) ([]byte, error) {
	n, err := in.tree.Follow(name)
	if err != nil {
		return nil, err
	}
	const limit = 4 << 20
	if !n.Mode.IsRegular() || n.Size > limit {
		return nil, fmt.Errorf("/%s is no file of %d MiB or less", name, limit>>20)
	}
	return io.ReadAll(in.tree.Reader(n))
}

// privileged tells whether a file gives rights to whoever runs it.
func privileged(n *squashfs.Node) (Privileged, bool) {
	if !n.Mode.IsRegular() || n.Mode&(fs.ModeSetuid|fs.ModeSetgid) == 0 && n.Capability == nil {
		return Privileged{}, false
	}
	mode := uint32(n.Mode.Perm())
	if n.Mode&fs.ModeSetuid != 0 {
		mode |= 0o4000
	}
	if n.Mode&fs.ModeSetgid != 0 {
		mode |= 0o2000
	}
	return Privileged{"/" + n.Path, fmt.Sprintf("%04o", mode), n.UID, n.GID, hex.EncodeToString(n.Capability)}, true
}

// directories sums up the tree to the second level below the root, and lists the largest.
func directories(f *squashfs.FS) []Directory {
	sums := map[string]*Directory{}
	for _, n := range f.Nodes {
		if !n.Mode.IsRegular() {
			continue
		}
		parts := strings.Split(path.Dir(n.Path), "/")
		for depth := 1; depth <= min(3, len(parts)); depth++ {
			name := "/" + strings.TrimPrefix(strings.Join(parts[:depth], "/"), ".")
			d := sums[name]
			if d == nil {
				d = &Directory{Path: name}
				sums[name] = d
			}
			d.Files++
			d.Bytes += n.Size
		}
	}
	list := make([]Directory, 0, len(sums))
	for _, d := range sums {
		list = append(list, *d)
	}
	slices.SortFunc(list, func(a, b Directory) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), strings.Compare(a.Path, b.Path))
	})
	const largest = 24
	return list[:min(largest, len(list))]
}

// unitDirs are where systemd finds units, the strongest first.
var unitDirs = []string{"etc/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system"}

// units lists what is pulled in at boot by a link in a .wants or .requires directory, and the sockets.
func (in *inspector) units() {
	r := in.Root
	enabled := map[string]bool{}
	sockets := map[string]string{} // name → path
	masked := map[string]bool{}
	for _, dir := range unitDirs {
		list, err := in.tree.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range list {
			name := e.Name()
			full := path.Join(dir, name)
			switch {
			case e.IsDir() && (strings.HasSuffix(name, ".wants") || strings.HasSuffix(name, ".requires")):
				links, _ := in.tree.ReadDir(full) // it was listed
				for _, l := range links {
					enabled[l.Name()] = true
				}
			case in.isMasked(full):
				masked[name] = true
			case strings.HasSuffix(name, ".socket") && sockets[name] == "":
				sockets[name] = full
			}
		}
	}
	for name := range enabled {
		if !masked[name] {
			r.Enabled = append(r.Enabled, name)
		}
	}
	slices.Sort(r.Enabled)
	for _, name := range slices.Sorted(maps.Keys(sockets)) {
		if masked[name] {
			continue
		}
		text, err := in.readFile(sockets[name])
		if err != nil {
			continue
		}
		for _, address := range listens(string(text)) {
			r.Listening = append(r.Listening, Listening{Unit: name, Address: address, Network: isNetwork(address), Enabled: enabled[name]})
		}
	}
}

func (in *inspector) isMasked(name string) bool {
	n, err := in.tree.Look(name)
	return err == nil && (n.Target == "/dev/null" || n.Mode.IsRegular() && n.Size == 0)
}

// listens takes the addresses of a socket unit. An empty assignment forgets those before it.
func listens(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		key = strings.TrimSpace(key)
		if !ok || !strings.HasPrefix(key, "Listen") {
			continue
		}
		if value = strings.TrimSpace(value); value == "" {
			out = nil
			continue
		}
		out = append(out, strings.TrimPrefix(key, "Listen")+" "+value)
	}
	return out
}

// isNetwork tells an address that other machines may reach: a number of a port, or an address and a port.
func isNetwork(listen string) bool {
	kind, address, _ := strings.Cut(listen, " ")
	return slices.Contains([]string{"Stream", "Datagram", "SequentialPacket"}, kind) && !strings.HasPrefix(address, "/") &&
		!strings.HasPrefix(address, "@") && !strings.HasPrefix(address, "vsock:") && !strings.HasPrefix(address, "%")
}

const dpkgStatus = "/var/lib/dpkg/status"

// packages lists what is installed, by dpkg's database where the image has one.
func (in *inspector) packages() {
	n, err := in.tree.Follow(strings.TrimPrefix(dpkgStatus, "/"))
	if err != nil || !n.Mode.IsRegular() {
		return
	}
	list, err := readStatus(in.tree.Reader(n))
	if err != nil {
		in.add("packages", Fail, in.root.name, "%s: %v", dpkgStatus, err)
		return
	}
	in.Root.Packages, in.Root.PackagesBy = list, dpkgStatus
}

// readStatus reads dpkg's database: paragraphs of fields.
func readStatus(r io.Reader) ([]Package, error) {
	var out []Package
	fields := map[string]string{}
	flush := func() {
		if fields["Package"] != "" && strings.HasSuffix(fields["Status"], " installed") {
			out = append(out, Package{fields["Package"], fields["Version"]})
		}
		clear(fields)
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			flush()
			continue
		}
		if key, value, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, " ") {
			fields[key] = strings.TrimSpace(value)
		}
	}
	flush()
	slices.SortFunc(out, func(a, b Package) int { return strings.Compare(a.Name, b.Name) })
	return out, lines.Err()
}
