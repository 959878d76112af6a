package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/lock"
)

// lockFlags say what a lock shall be of; what is not given stays as the lock has it.
type lockFlags struct {
	update, check                           bool
	distribution, mirror, snapshot, cacheAt string
	packages, programs                      []string
	hardware                                bool
}

func newLockCommand() *cobra.Command {
	var f lockFlags
	c := &cobra.Command{
		Use:   "lock [FILE]",
		Short: "Compare a lock of packages with what the archive offers, and bring it up to date",
		Long: `lock asks the archive which packages the image of a lock would be baked from today, and lists
what differs: added, removed, upgraded. FILE is the builder's lock_file, strongroom.lock by
default. With --update it is replaced; with --check a difference is exit status 1.

What the lock says of distribution, packages and programs stays, unless a flag says otherwise.
So does its moment, source_date_epoch, unless --snapshot or $SOURCE_DATE_EPOCH give one.`,
		Example: `  imagebuild lock                                          what an update would change
  imagebuild lock --check                                  the same, for CI
  imagebuild lock --update
  imagebuild lock --update --packages tcpdump,strace       after the template has changed
  imagebuild lock --update --program /usr/bin/vault=/usr/local/bin/vault`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return &usageError{c.CommandPath(), fmt.Errorf("want one file, got %d", len(args))}
			}
			if f.update && f.check {
				return &usageError{c.CommandPath(), errors.New("--update and --check exclude each other")}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			path := lock.Name
			if len(args) > 0 {
				path = args[0]
			}
			return f.run(c, path)
		},
	}
	c.Flags().BoolVar(&f.update, "update", false, "replace the lock, or write the first one")
	c.Flags().BoolVar(&f.check, "check", false, "exit with status 1 when an update would change something")
	c.Flags().StringVar(&f.distribution, "distribution", "debian/trixie", "distribution that the image stands on")
	c.Flags().StringSliceVar(&f.packages, "packages", nil, "the packages of the template, as its attribute packages has them")
	c.Flags().BoolVar(&f.hardware, "hardware", false, "the kernel for physical machines, as the profiles vault/metal and openbao/metal have it")
	c.Flags().StringArrayVar(&f.programs, "program", nil, "a program of the image and where it lies here, `path=file`, repeatable; path= removes one")
	c.Flags().StringVar(&f.mirror, "mirror", "", "`URL` of the package archive, as in the template")
	c.Flags().StringVar(&f.snapshot, "snapshot", "", "a `moment` of the dated archive, as in 20260131T000000Z")
	c.Flags().StringVar(&f.cacheAt, "cache-directory", "", "`directory` of the builder's cache")
	return c
}

func (f *lockFlags) run(c *cobra.Command, path string) error {
	old, err := lock.Read(path)
	missing := errors.Is(err, fs.ErrNotExist)
	if missing && !f.update {
		return image.WithHint(fmt.Errorf("no lock at %s", path), "imagebuild lock --update writes it, and so does the first bake with lock_file")
	}
	if err != nil && !missing {
		return fmt.Errorf("cannot read the lock: %w", err)
	}
	spec, err := f.spec(c, old, missing)
	if err != nil {
		return &usageError{c.CommandPath(), err}
	}
	if spec.CacheDir == "" {
		dir, err := image.UserCache()
		if err != nil {
			return image.WithHint(fmt.Errorf("cannot tell where the cache is: %w", err), "name it with --cache-directory")
		}
		spec.CacheDir = filepath.Join(dir, "image")
	}
	fresh, err := image.Resolve(c.Context(), spec, slog.New(slog.DiscardHandler))
	if err != nil {
		return fmt.Errorf("cannot make the lock: %w", err)
	}
	for _, p := range old.Programs {
		if _, has := fresh.Program(p.Path); !has && !f.removes(p.Path) {
			fresh.Programs = append(fresh.Programs, p)
		}
	}
	changes := lock.Diff(old, fresh)
	for _, change := range changes {
		if !missing {
			fmt.Fprintln(c.OutOrStdout(), change)
		}
	}
	fmt.Fprintf(c.OutOrStdout(), "%s: %s\n", path, lock.Summary(changes))
	switch {
	case f.update && len(changes) > 0:
		if err := fresh.Write(path); err != nil {
			return fmt.Errorf("cannot write the lock: %w", err)
		}
	case f.check && len(changes) > 0:
		return image.WithHint(fmt.Errorf("%s is not up to date", path), "imagebuild lock --update "+path)
	}
	return nil
}

// spec is what the lock shall be of.
func (f *lockFlags) spec(c *cobra.Command, old lock.File, missing bool) (image.Spec, error) {
	spec := image.SpecOf(old)
	spec.Builder, spec.Mirror, spec.Snapshot, spec.CacheDir = buildVersion, f.mirror, f.snapshot, f.cacheAt
	given := c.Flags().Changed
	if missing || given("distribution") {
		spec.Distribution = f.distribution
	}
	if given("packages") {
		spec.Packages = f.packages
	}
	if given("hardware") {
		spec.Hardware = f.hardware
	}
	if missing || f.snapshot != "" || os.Getenv("SOURCE_DATE_EPOCH") != "" {
		var err error
		if spec.Epoch, err = image.SourceDateEpoch(f.snapshot); err != nil {
			return image.Spec{}, err
		}
	}
	for _, p := range f.programs {
		path, source, ok := strings.Cut(p, "=")
		if !ok || !filepath.IsAbs(path) {
			return image.Spec{}, fmt.Errorf("--program %q: want its path in the image and the file, as in /usr/bin/vault=/usr/local/bin/vault", p)
		}
		if source != "" {
			spec.Binaries = append(spec.Binaries, image.Binary{Source: source, Path: path})
		}
	}
	return spec, image.ValidateForLock(spec)
}

// removes reports whether a flag takes a program out of the lock.
func (f *lockFlags) removes(path string) bool {
	for _, p := range f.programs {
		if p == path+"=" {
			return true
		}
	}
	return false
}
