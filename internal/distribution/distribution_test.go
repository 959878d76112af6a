package distribution_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/distribution"
)

// A distribution without one of its names would render a broken file or judge the wrong one.
func TestDistributionsAreComplete(t *testing.T) {
	for _, d := range distribution.All() {
		for word, value := range d.Words() {
			if value == "" && word != "distribution.boot_file" {
				t.Errorf("%s has no %s", d.ID, word)
			}
		}
		if len(d.Packages.Needed) == 0 || len(d.Packages.Forbidden) == 0 || len(d.Packages.Session) == 0 || len(d.Boot.Command) == 0 {
			t.Errorf("%s: packages or boot loader are missing", d.ID)
		}
		for _, wanted := range slices.Concat(d.Packages.Needed, d.Packages.Compilers) {
			if slices.Contains(d.Packages.Forbidden, wanted) || slices.Contains(d.Packages.Session, wanted) {
				t.Errorf("%s wants %s and removes it", d.ID, wanted)
			}
		}
		for _, list := range [][]string{d.Packages.Needed, d.Packages.Forbidden, d.Packages.Session, d.Tenants.Units, d.Tenants.Accounts} {
			if sorted := slices.Sorted(slices.Values(list)); len(slices.Compact(sorted)) != len(list) {
				t.Errorf("%s names something twice: %q", d.ID, list)
			}
		}
		for _, layout := range d.Layouts {
			if found, err := distribution.Find(layout, d.ID); err != nil || found.ID != d.ID {
				t.Errorf("Find(%s, %s): %v, %v", layout, d.ID, found.ID, err)
			}
		}
	}
}

// The documentation knows every distribution, and what its boot loader is told.
func TestDistributionsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/installed.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range distribution.All() {
		for _, want := range []string{"`" + d.ID + "`", d.Boot.Command[0], d.Boot.DropIn} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s: docs/installed.md lacks %s", d.ID, want)
			}
		}
	}
}

func TestFindNamesTheWayOut(t *testing.T) {
	for name, c := range map[string]struct{ layout, id, says string }{
		"impossible pair":   {"sealed", "ubuntu/noble", `harden a machine of Ubuntu 24.04 LTS with layout "installed"`},
		"the other one":     {"sealed", "rhel/9", "debian/trixie, debian/bookworm"},
		"unknown":           {"installed", "debian/sid", "debian/trixie, debian/bookworm, ubuntu/noble, rhel/10, rhel/9"},
		"unknown of sealed": {"sealed", "debian/sid", "not one of debian/trixie, debian/bookworm"},
		"unknown layout":    {"floating", "debian/trixie", "sealed, installed"},
	} {
		if _, err := distribution.Find(c.layout, c.id); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %q", name, err, c.says)
		}
	}
}

func TestDetect(t *testing.T) {
	for text, want := range map[string]string{
		"PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nID=debian\nVERSION_ID=\"13\"\n":                                          "debian/trixie",
		"ID=debian\nVERSION_ID=\"12\"\n":                                                                                        "debian/bookworm",
		"NAME=\"Ubuntu\"\nVERSION_ID=\"24.04\"\nID=ubuntu\nID_LIKE=debian\n":                                                    "ubuntu/noble",
		"NAME=\"Rocky Linux\"\nVERSION=\"9.4 (Blue Onyx)\"\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"9.4\"\n": "rhel/9",
		"ID='almalinux'\nVERSION_ID='9.5'\n":                                                                                    "rhel/9",
		"ID=\"ol\"\nVERSION_ID=\"9.3\"\n":                                                                                       "rhel/9",
		"ID=\"rhel\"\nVERSION_ID=\"9\"\n":                                                                                       "rhel/9",
		"ID=\"rhel\"\nVERSION_ID=\"10.1\"\n":                                                                                    "rhel/10",
		"ID=\"centos\"\nVERSION_ID=\"10\"\n":                                                                                    "rhel/10",
	} {
		if got, err := distribution.Detect(text); err != nil || got.ID != want {
			t.Errorf("%q: %q, %v, want %s", text, got.ID, err, want)
		}
	}
	for _, text := range []string{
		"", "ID=debian\n", "ID=debian\nVERSION_ID=\"1\"\n", "ID=debian\nVERSION_ID=\"130\"\n", "ID=ubuntu\nVERSION_ID=\"24.10\"\n", "ID=rhel\nVERSION_ID=\"8.10\"\n",
		"ID=fedora\nVERSION_ID=9\n", "VERSION_ID=13\n",
	} {
		if got, err := distribution.Detect(text); err == nil || !strings.Contains(err.Error(), "Debian 13") {
			t.Errorf("%q: %q, %v", text, got.ID, err)
		}
	}
}

func FuzzDetect(f *testing.F) {
	f.Add("ID=debian\nVERSION_ID=\"13\"\n")
	f.Add("ID=\"rocky\"\nVERSION_ID=\"9.4\"\nPRETTY_NAME=\"Rocky\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := distribution.Detect(text); (err == nil) != (d.ID != "") {
			t.Errorf("%q, %v", d.ID, err)
		}
	})
}
