package image

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/lock"
)

// apt is apt of this host with a configuration and a state of its own in the work directory: it sees neither the packages nor the
// sources of the host.
type apt struct {
	box *sandbox
	dir string // of the work directory
}

// aptConfig is apt.conf(5) of such an apt. The tree gets no apt; with this, apt does not count itself among what is essential.
const aptConfig = `Dir %[1]q;
Dir::State "state/";
Dir::State::status %[2]q;
Dir::Cache "cache/";
Dir::Etc::Trusted "/etc/apt/trusted.gpg";
Dir::Etc::TrustedParts "/etc/apt/trusted.gpg.d/";
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "20";
pkgCacheGen::ForceEssential ",";
`

// openApt writes the configuration. close removes everything of it.
func openApt(box *sandbox, s Spec) (*apt, error) {
	a := &apt{box: box, dir: "apt"}
	for _, dir := range []string{"etc/apt/apt.conf.d", "etc/apt/preferences.d", "state/lists/partial", "cache/archives/partial"} {
		if err := box.files.MkdirAll(path.Join(a.dir, dir), 0o755); err != nil {
			return nil, err
		}
	}
	config := fmt.Sprintf(aptConfig, box.path(a.dir)+"/", box.path(a.dir, "status"))
	if s.Snapshot != "" {
		config += "Acquire::Check-Valid-Until \"false\";\n"
	}
	for name, text := range map[string]string{
		"apt.conf":             config,
		"status":               "",
		"etc/apt/sources.list": strings.Join(sources(s), "\n") + "\n",
	} {
		if err := box.files.WriteFile(path.Join(a.dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *apt) output(ctx context.Context, argv ...string) ([]byte, error) {
	cmd := a.box.command(ctx, argv...)
	cmd.Env = append(cmd.Env, "APT_CONFIG="+a.box.path(a.dir, "apt.conf"))
	return a.box.output(cmd)
}

func (a *apt) close() error { return a.box.files.RemoveAll(a.dir) }

// Resolve asks the archive for the packages that a spec takes in, and makes a lock of them. The spec's own lock file is
// not looked at.
func Resolve(ctx context.Context, s Spec, log *slog.Logger) (_ lock.File, err error) {
	if err := requireTools(s); err != nil {
		return lock.File{}, err
	}
	programs, err := InspectBinaries(s.Binaries)
	if err != nil {
		return lock.File{}, err
	}
	if s.CacheDir, err = filepath.Abs(s.CacheDir); err != nil {
		return lock.File{}, fmt.Errorf("cannot resolve %s: %w", s.CacheDir, err)
	}
	if err := os.MkdirAll(s.CacheDir, 0o755); err != nil {
		return lock.File{}, fmt.Errorf("cannot make the cache directory: %w", err)
	}
	box, err := openSandbox(s.CacheDir, resolveRoom, log)
	if err != nil {
		return lock.File{}, err
	}
	defer func() { err = errors.Join(err, box.close()) }()
	resolved, err := resolve(ctx, box, s)
	if err != nil {
		return lock.File{}, err
	}
	return resolved.with(s, programs), nil
}

// resolveRoom is the memory that the archive's indexes take.
const resolveRoom = 256 << 20

// resolution is what the archive answered: the packages of a lock, and a moment at which it had them.
type resolution struct {
	packages []lock.Package
	snapshot string
}

// with makes a lock of what the archive answered and what the spec says.
func (r resolution) with(s Spec, programs []InstalledBinary) lock.File {
	f := lock.File{
		Schema: lock.Schema, Builder: s.Builder, Distribution: s.Distribution, Snapshot: r.snapshot, Epoch: s.Epoch.Unix(),
		Asked:    lock.Asked{Builder: builderPackages(s), Template: s.Packages},
		Packages: r.packages,
	}
	for _, p := range programs {
		f.Programs = append(f.Programs, lock.Program{Path: p.Path, SHA256: p.SHA256, Size: p.Size})
	}
	return f
}

// resolve asks the archive.
func resolve(ctx context.Context, box *sandbox, s Spec) (_ resolution, err error) {
	a, err := openApt(box, s)
	if err != nil {
		return resolution{}, fmt.Errorf("cannot prepare apt: %w", err)
	}
	defer func() { err = errors.Join(err, a.close()) }()
	if _, err := a.output(ctx, "apt-get", "--quiet", "update"); err != nil {
		return resolution{}, explainArchive(fmt.Errorf("cannot read the archive's indexes: %w", err), s)
	}
	suite := distributions[s.Distribution].suite
	// The words of mmdebstrap: the essential packages of the suite itself, in the newest version of all its archives.
	essential := "?narrow(?or(?archive(^" + suite + "$),?codename(^" + suite + "$)),?architecture(amd64),?essential)"
	listing, err := a.output(ctx, append([]string{"apt-get", "--quiet=2", "--print-uris", "install", essential}, packagesOf(s)...)...)
	if err != nil {
		return resolution{}, explainArchive(fmt.Errorf("cannot choose packages: %w", err), s)
	}
	wanted, err := parseURIs(string(listing), archives(s))
	if err != nil {
		return resolution{}, err
	}
	ask := []string{"apt-cache", "show"}
	for _, p := range wanted {
		ask = append(ask, p.Name+"="+p.Version)
	}
	stanzas, err := a.output(ctx, ask...)
	if err != nil {
		return resolution{}, fmt.Errorf("cannot read the archive's indexes: %w", err)
	}
	r := resolution{snapshot: s.Snapshot}
	if r.packages, err = describe(wanted, stanzas); err != nil {
		return resolution{}, err
	}
	if r.snapshot == "" {
		published, err := a.published()
		if err != nil {
			return resolution{}, err
		}
		r.snapshot = published.Add(snapshotDelay).UTC().Format(snapshotLayout)
	}
	return r, nil
}

const (
	snapshotLayout = "20060102T150405Z"

	// snapshotDelay is how long the dated archive may take to have what the archive has published: it looks four times a day.
	snapshotDelay = 6 * time.Hour
)

// published is when the newest of the suites was published, by its own Release file: no clock of this host.
func (a *apt) published() (time.Time, error) {
	lists := path.Join(a.dir, "state/lists")
	dir, err := a.box.files.Open(lists)
	if err != nil {
		return time.Time{}, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return time.Time{}, err
	}
	var newest time.Time
	for _, name := range names {
		if !strings.HasSuffix(name, "Release") {
			continue
		}
		f, err := a.box.files.Open(path.Join(lists, name))
		if err != nil {
			return time.Time{}, err
		}
		date, err := releaseDate(f)
		f.Close()
		if err != nil {
			return time.Time{}, fmt.Errorf("cannot read the archive's %s: %w", name, err)
		}
		if date.After(newest) {
			newest = date
		}
	}
	if newest.IsZero() {
		return time.Time{}, errors.New("the archive has no Release file")
	}
	return newest, nil
}

// releaseDate reads the field Date of a Release file.
func releaseDate(r io.Reader) (time.Time, error) {
	for s := bufio.NewScanner(r); s.Scan(); {
		if value, ok := strings.CutPrefix(s.Text(), "Date: "); ok {
			return time.Parse(time.RFC1123, strings.TrimSpace(value))
		}
	}
	return time.Time{}, errors.New("it has no date")
}

// parseURIs reads what apt-get --print-uris says: 'URI' NAME_VERSION_ARCHITECTURE.deb SIZE, and a digest that may be missing.
func parseURIs(text string, from []archive) ([]lock.Package, error) {
	var out []lock.Package
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 3 || !strings.HasPrefix(f[0], "'") {
			return nil, fmt.Errorf("apt-get wrote %q, want a URI, a file name and a size", strings.TrimSpace(line))
		}
		parts := strings.Split(strings.TrimSuffix(f[1], ".deb"), "_")
		size, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil || len(parts) != 3 {
			return nil, fmt.Errorf("apt-get wrote %q, want NAME_VERSION_ARCHITECTURE.deb and a size", strings.TrimSpace(line))
		}
		p := lock.Package{Name: parts[0], Architecture: parts[2], Size: size}
		if p.Version, err = url.PathUnescape(parts[1]); err != nil {
			return nil, fmt.Errorf("apt-get wrote the version %q: %w", parts[1], err)
		}
		uri := strings.Trim(f[0], "'")
		for _, a := range from {
			if rest, ok := strings.CutPrefix(strings.Replace(uri, "file:///", "file:/", 1), strings.Replace(a.root, "file:///", "file:/", 1)+"/"); ok {
				p.Archive = a.name
				if p.Path, err = url.PathUnescape(rest); err != nil {
					return nil, fmt.Errorf("apt-get wrote the URI %q: %w", uri, err)
				}
			}
		}
		if p.Archive == "" {
			return nil, fmt.Errorf("apt-get wants %s from %s, which is none of the archives", p.Name, uri)
		}
		out = append(out, p)
	}
	return out, nil
}

// describe adds the digests that the archive's indexes have. The indexes are signed, and apt has checked that.
func describe(wanted []lock.Package, stanzas []byte) ([]lock.Package, error) {
	digests := map[string]string{} // by name and path
	for _, stanza := range bytes.Split(stanzas, []byte("\n\n")) {
		fields := map[string]string{}
		for line := range strings.Lines(string(stanza)) {
			if name, value, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, " ") {
				fields[name] = strings.TrimSpace(value)
			}
		}
		digests[fields["Package"]+" "+fields["Version"]+" "+fields["Filename"]] = fields["SHA256"]
	}
	for i, p := range wanted {
		sum := digests[p.Name+" "+p.Version+" "+p.Path]
		if sum == "" {
			return nil, fmt.Errorf("the archive's index has no SHA-256 of %s %s", p.Name, p.Version)
		}
		wanted[i].SHA256 = sum
	}
	return wanted, nil
}
