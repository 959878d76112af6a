package image

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func goodSpec() Spec {
	return Spec{
		Name: "vault-node", Version: "2026.11.1", Distribution: "debian/trixie", Formats: []string{FormatRaw},
		Epoch: time.Unix(1_700_000_000, 0), OutputDir: "out/image", CacheDir: "/var/cache/strongroom",
		Binaries: []Binary{{Source: "vault", Path: "/usr/bin/vault"}},
	}
}

func TestValidateAcceptsAGoodSpec(t *testing.T) {
	if errs := Validate(goodSpec()); len(errs) > 0 {
		t.Error(errs)
	}
}

func TestValidateNamesTheField(t *testing.T) {
	for _, c := range []struct {
		field, says string
		change      func(*Spec)
	}{
		{"Name", "image id", func(s *Spec) { s.Name = "Vault Node" }},
		{"Version", "image version", func(s *Spec) { s.Version = "" }},
		{"Distribution", "debian/bookworm, debian/trixie", func(s *Spec) { s.Distribution = "debian/sid" }},
		{"Mirror", "not an http", func(s *Spec) { s.Mirror = "ftp://example.org/debian" }},
		{"Mirror", "separator", func(s *Spec) { s.Mirror = "http://example.org/debian main [trusted=yes]" }},
		{"Snapshot", "of the form", func(s *Spec) { s.Snapshot = "2026-01-31" }},
		{"Snapshot", "exists", func(s *Spec) { s.Snapshot = "20260231T000000Z" }},
		{"Packages", "not a package name", func(s *Spec) { s.Packages = []string{"--allow-downgrades"} }},
		{"Packages", "never in the image", func(s *Spec) { s.Packages = []string{"perl-base"} }},
		{"Binaries", "absolute, clean path", func(s *Spec) { s.Binaries[0].Path = "/usr/../vault" }},
		{"Binaries", "no source", func(s *Spec) { s.Binaries[0].Source = "" }},
		{"Binaries", "given twice", func(s *Spec) { s.Binaries = append(s.Binaries, s.Binaries[0]) }},
		{"Binaries", "not a SHA-256", func(s *Spec) { s.Binaries[0].SHA256 = "abc" }},
		{"Formats", "no format", func(s *Spec) { s.Formats = nil }},
		{"Formats", "known: raw, qcow2, vmdk, vhd, raw.tar.gz", func(s *Spec) { s.Formats = []string{"vdi"} }},
		{"Formats", "beside a disk", func(s *Spec) { s.Formats, s.Netboot.DataDisk = []string{FormatNetboot}, "id:x" }},
		{"Netboot", "which disk", func(s *Spec) { s.Formats = append(s.Formats, FormatNetboot) }},
		{"Netboot", "signing_certificate", func(s *Spec) {
			s.Formats = append(s.Formats, FormatNetboot)
			s.Netboot = Netboot{DataDisk: "id:x", KeyFile: "key.pem"}
		}},
		{"Netboot", "leave one out", func(s *Spec) {
			s.Formats = append(s.Formats, FormatNetboot)
			s.Netboot = Netboot{DataDisk: "id:x", InstallDisk: "id:x", InstallURL: "https://images.example.net/"}
		}},
		{"Netboot", "install_disk: say which disk", func(s *Spec) {
			s.Formats = append(s.Formats, FormatNetboot)
			s.Netboot = Netboot{InstallURL: "https://images.example.net/"}
		}},
		{"Netboot", "install_url: \"http://images.example.net/\" is not the https URL", func(s *Spec) {
			s.Formats = append(s.Formats, FormatNetboot)
			s.Netboot = Netboot{InstallDisk: "id:x", InstallURL: "http://images.example.net/"}
		}},
		{"DataSize", "negative", func(s *Spec) { s.DataSize = -1 }},
		{"Epoch", "1980", func(s *Spec) { s.Epoch = time.Time{} }},
		{"OutputDir", "empty", func(s *Spec) { s.OutputDir = "" }},
		{"CacheDir", "must not own", func(s *Spec) { s.CacheDir = "/" }},
	} {
		t.Run(c.field+" "+c.says, func(t *testing.T) {
			s := goodSpec()
			c.change(&s)
			errs := Validate(s)
			if len(errs) != 1 {
				t.Fatalf("got %v, want one error", errs)
			}
			var f *FieldError
			if !errors.As(errs[0], &f) || f.Field != c.field || !strings.Contains(errs[0].Error(), c.says) {
				t.Errorf("got %q, want field %s and %q", errs[0], c.field, c.says)
			}
		})
	}
}

func TestValidateReportsAllAtOnce(t *testing.T) {
	var fields []string
	for _, err := range Validate(Spec{}) {
		var f *FieldError
		if errors.As(err, &f) {
			fields = append(fields, f.Field)
		}
	}
	want := []string{"CacheDir", "Distribution", "Epoch", "Formats", "Name", "OutputDir", "Version"}
	if !slices.Equal(fields, want) {
		t.Errorf("an empty spec is wrong in %v, want %v", fields, want)
	}
}

func TestHardwareHasItsDrivers(t *testing.T) {
	for _, name := range Distributions() {
		s := Spec{Distribution: name}
		cloud := packagesOf(s)
		s.Hardware = true
		metal := packagesOf(s)
		if !slices.Contains(cloud, cloudKernel) || slices.Contains(cloud, fullKernel) || slices.Contains(metal, cloudKernel) || !slices.Contains(metal, fullKernel) || len(cloud) != len(metal) {
			t.Errorf("%s: %q, and for hardware %q", name, cloud, metal)
		}
	}
}

// What ships the journal is in images that ask for it and in no other: with it come libraries that speak to the network.
func TestShipperIsAskedFor(t *testing.T) {
	const shipper = "systemd-journal-remote"
	for _, name := range Distributions() {
		if packages := packagesOf(Spec{Distribution: name}); slices.Contains(packages, shipper) {
			t.Errorf("%s: %q", name, packages)
		}
		if packages := packagesOf(Spec{Distribution: name, ShipsLogs: true}); !slices.Contains(packages, shipper) {
			t.Errorf("%s, with a shipper: %q", name, packages)
		}
	}
}

func TestNothingOfTheImageIsBakeOnly(t *testing.T) {
	for name, d := range distributions {
		for _, p := range d.runtime {
			if slices.Contains(bakeOnly, p) {
				t.Errorf("%s: %s is both in the image and sealed away", name, p)
			}
		}
		for _, p := range d.bakeTime {
			if !slices.Contains(bakeOnly, p) {
				t.Errorf("%s: %s is there for the bake only, but not sealed away", name, p)
			}
		}
	}
}
