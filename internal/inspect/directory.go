package inspect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/strongroom/strongroom/internal/digest"
	"github.com/strongroom/strongroom/internal/inspect/disk"
	"github.com/strongroom/strongroom/internal/measure"
	"github.com/strongroom/strongroom/internal/netboot"
	"github.com/strongroom/strongroom/internal/secureboot"
)

// manifest is what is taken from manifest.json of a bake.
type manifest struct {
	Schema   string `json:"schema"`
	RootHash string `json:"root_hash"`
	Files    []struct {
		Name        string `json:"name"`
		Format      string `json:"format"`
		Size        int64  `json:"size"`
		VirtualSize int64  `json:"virtual_size"`
		SHA256      string `json:"sha256"`
	} `json:"files"`
	Beside   []File            `json:"beside"`
	Netboot  *netboot.Manifest `json:"netboot"`
	Packages []struct {
		Name    string `json:"name"`
		Version string `json:"version"`
		Sealed  bool   `json:"sealed_away"`
	} `json:"packages"`
}

const (
	manifestName   = "manifest.json"
	manifestSchema = "strongroom.image/v1"
	maxManifest    = 16 << 20
	enrolled       = "secure-boot/db.cer"
)

// directory looks into the output directory of a bake, or a netboot bundle.
func (in *inspector) directory(ctx context.Context, dir string) error {
	text, err := readLimited(filepath.Join(dir, manifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is a directory without %s: name a disk in it", dir, manifestName)
	} else if err != nil {
		return err
	}
	m, err := parseManifest(text)
	if err != nil {
		in.add("manifest", Fail, manifestName, "%v", err)
		return nil
	}
	if m.Schema == netboot.Schema {
		return in.bundle(ctx, dir, "")
	}
	in.ours = true
	in.said = append(in.said, Said{manifestName, m.RootHash})
	in.manifestFiles(ctx, dir, m)
	in.beside(dir)
	if len(m.Files) > 0 {
		// Where the first one is no disk any more, that is said of it, and there is nothing to go on.
		if err := in.file(ctx, filepath.Join(dir, filepath.FromSlash(m.Files[0].Name))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		in.formats(ctx, dir, m)
	}
	if m.Netboot != nil {
		if len(m.Files) == 0 {
			return in.bundle(ctx, filepath.Join(dir, "netboot"), "netboot/")
		}
		in.judgeBundle(ctx, filepath.Join(dir, "netboot"), m.RootHash)
	}
	if r := in.Root; r != nil && r.PackagesBy != dpkgStatus {
		r.Packages = nil
		in.manifestPackages(m)
	}
	return ctx.Err()
}

// manifestPackages takes the packages that the bake has installed and not sealed away.
func (in *inspector) manifestPackages(m manifest) {
	for _, p := range m.Packages {
		if !p.Sealed {
			in.Root.Packages = append(in.Root.Packages, Package{p.Name, p.Version})
		}
	}
	in.Root.PackagesBy = manifestName
}

func readLimited(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err == nil && len(text) > maxManifest {
		err = fmt.Errorf("%s has more than %d MiB", name, maxManifest>>20)
	}
	return text, err
}

// parseManifest reads the manifest of a bake, or only the schema of that of a bundle. Files lie in the directory.
func parseManifest(text []byte) (manifest, error) {
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		var schema struct{ Schema string }
		if json.Unmarshal(text, &schema) == nil && schema.Schema == netboot.Schema {
			return manifest{Schema: netboot.Schema}, nil
		}
		return manifest{}, fmt.Errorf("it cannot be read: %w", err)
	}
	if m.Schema == netboot.Schema {
		return manifest{Schema: netboot.Schema}, nil
	}
	if m.Schema != manifestSchema {
		return manifest{}, fmt.Errorf("its schema is %q, and %s is known", m.Schema, manifestSchema)
	}
	if len(m.Files) == 0 && m.Netboot == nil {
		return manifest{}, errors.New("it names no disk")
	}
	for _, name := range m.names() {
		if !filepath.IsLocal(filepath.FromSlash(name)) {
			return manifest{}, fmt.Errorf("it names the file %q, which does not lie in the directory", name)
		}
	}
	return m, nil
}

func (m manifest) names() []string {
	var names []string
	for _, f := range m.Files {
		names = append(names, f.Name)
	}
	for _, f := range m.Beside {
		names = append(names, f.Name)
	}
	return names
}

// manifestFiles compares each file with what the manifest says of it.
func (in *inspector) manifestFiles(ctx context.Context, dir string, m manifest) {
	var want []File
	for _, f := range m.Files {
		want = append(want, File{f.Name, f.Size, f.SHA256})
	}
	want = append(want, m.Beside...)
	problems := make([]error, len(want))
	in.Image.Files = make([]File, len(want))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2)
	for i, w := range want {
		group.Go(func() error {
			in.Image.Files[i], problems[i] = digestFile(ctx, dir, w)
			return ctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		in.add("manifest", Unknown, manifestName, "%v", err)
		return
	}
	bad := false
	for i, err := range problems {
		if err != nil {
			bad = true
			in.add("manifest", Fail, want[i].Name, "%v", err)
		}
	}
	if !bad {
		in.add("manifest", Pass, manifestName, "all %d files that it names have its digests", len(want))
	}
}

func digestFile(ctx context.Context, dir string, want File) (File, error) {
	f, err := os.Open(filepath.Join(dir, filepath.FromSlash(want.Name)))
	if err != nil {
		return File{Name: want.Name}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return File{Name: want.Name}, err
	}
	sum, _, err := digest.Of(ctx, f)
	if err != nil {
		return File{Name: want.Name}, err
	}
	got := File{want.Name, info.Size(), sum}
	switch {
	case got.Size != want.Size:
		return got, fmt.Errorf("it has %d bytes, and %d were baked", got.Size, want.Size)
	case got.SHA256 != want.SHA256:
		return got, fmt.Errorf("its SHA-256 is %s, and %s was baked", got.SHA256, want.SHA256)
	}
	return got, nil
}

// beside takes what lies beside the disks for what the asker has not named himself.
func (in *inspector) beside(dir string) {
	if in.options.Measurements == nil {
		text, err := readLimited(filepath.Join(dir, measure.FileName))
		if err == nil {
			var s measure.Statement
			if s, err = measure.Parse(text); err == nil {
				in.options.Measurements = &s
				in.said = append(in.said, Said{measure.FileName, s.RootHash})
			}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			in.add("measurements", Fail, measure.FileName, "%v", err)
		}
	}
	if len(in.options.Certificates) > 0 {
		return
	}
	text, err := readLimited(filepath.Join(dir, filepath.FromSlash(enrolled)))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		c, parse := secureboot.ParseCertificate(text)
		if err = parse; err == nil {
			in.options.Certificates = append(in.options.Certificates, c)
		}
	}
	if err != nil {
		in.add("enrolment-bundle", Fail, enrolled, "%v", err)
	}
}

// formats compares the first disk with the others: they are one disk.
func (in *inspector) formats(ctx context.Context, dir string, m manifest) {
	first, err := disk.Open(filepath.Join(dir, filepath.FromSlash(m.Files[0].Name)))
	if err != nil {
		return // said already
	}
	defer first.Close()
	for _, f := range m.Files[1:] {
		d, err := disk.Open(filepath.Join(dir, filepath.FromSlash(f.Name)))
		if err != nil {
			in.add("formats", Fail, f.Name, "%v", err)
			continue
		}
		at, differs, err := difference(ctx, first, d)
		switch {
		case err != nil:
			in.add("formats", Fail, f.Name, "%v", err)
		case differs:
			in.add("formats", Fail, f.Name, "byte %d of its disk is not that of %s", at, m.Files[0].Name)
		default:
			in.add("formats", Pass, f.Name, "its disk is that of %s, byte for byte", m.Files[0].Name)
		}
		d.Close()
	}
}

// bundle looks into a netboot bundle.
func (in *inspector) bundle(ctx context.Context, dir, prefix string) error {
	in.ours = true
	m, err := netboot.Verify(ctx, os.DirFS(dir))
	if err != nil {
		in.Image.Format = "netboot"
		in.add("netboot", Fail, "", "%v", err)
		return ctx.Err()
	}
	in.said = append(in.said, Said{prefix + netboot.ManifestName, m.RootHash})
	i := slices.IndexFunc(m.Files, func(f netboot.File) bool { return f.Role == netboot.UnifiedKernel })
	err = in.program(ctx, filepath.Join(dir, m.Files[i].Name))
	in.Image.Format = "netboot"
	in.add("netboot", Pass, "", "all %d files have the digests of %s, and the script is for them", len(m.Files), netboot.ManifestName)
	return err
}

// judgeBundle verifies the bundle beside a disk.
func (in *inspector) judgeBundle(ctx context.Context, dir, rootHash string) {
	m, err := netboot.Verify(ctx, os.DirFS(dir))
	if err == nil && m.RootHash != rootHash {
		err = fmt.Errorf("its root hash is %s, and that of the disk %s", m.RootHash, rootHash)
	}
	in.judge("netboot", "netboot/", err, "all files have the digests of its manifest, and the root hash is that of the disk")
}
