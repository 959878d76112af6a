package image

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

// archive is one tree of packages. A mirror and the dated archive have the same trees at other addresses, and the
// pool of each has the same paths.
type archive struct {
	name   string // in a lock: "debian", "debian-security"
	root   string // URL
	suites []string
	option string // of its lines in sources.list, "" or with the space behind it
}

const (
	mainArchive     = "debian"
	securityArchive = "debian-security"
	snapshotArchive = "http://snapshot.debian.org/archive"

	// archiveKeyring holds the keys of Debian's archives. A mirror may be signed by others, which the host's apt knows.
	archiveKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
)

// archives are what a spec draws on, in the order in which apt asks them.
func archives(s Spec) []archive {
	suite := distributions[s.Distribution].suite
	option := ""
	if _, err := os.Stat(archiveKeyring); err == nil {
		option = "[signed-by=" + archiveKeyring + "] "
	}
	both := func(main, security, option string) []archive {
		return []archive{
			{mainArchive, main, []string{suite, suite + "-updates"}, option},
			{securityArchive, security, []string{suite + "-security"}, option},
		}
	}
	switch {
	case s.Snapshot != "" && s.Mirror != "":
		root := strings.TrimSuffix(s.Mirror, "/")
		return both(root+"/debian/"+s.Snapshot, root+"/debian-security/"+s.Snapshot, "")
	case s.Snapshot != "":
		return both(datedArchive(mainArchive, s.Snapshot), datedArchive(securityArchive, s.Snapshot), option)
	case s.Mirror != "":
		return []archive{{mainArchive, strings.TrimSuffix(s.Mirror, "/"), []string{suite}, ""}}
	default:
		return both("http://deb.debian.org/debian", "http://security.debian.org/debian-security", option)
	}
}

// datedArchive is the address of an archive as it was at a moment.
func datedArchive(name, moment string) string { return snapshotArchive + "/" + name + "/" + moment }

// sources are the lines of sources.list.
func sources(s Spec) []string {
	var lines []string
	for _, a := range archives(s) {
		for _, suite := range a.suites {
			lines = append(lines, "deb "+a.option+a.root+" "+suite+" main")
		}
	}
	return lines
}

// archiveName is the archive as a message names it.
func archiveName(s Spec) string {
	if s.Snapshot != "" {
		return firstOf(s.Mirror, snapshotArchive) + " of " + s.Snapshot
	}
	return firstOf(s.Mirror, "the distribution's own mirror")
}

var (
	unknownPackage = regexp.MustCompile(`(?:Unable to locate package|Version '[^']*' for '|Couldn't find any package by (?:glob|regex) ')\s*([^\s';]+)|Package '?([^\s';]+)'? has no installation candidate`)
	unreachable    = regexp.MustCompile(`(?:Could not resolve|Could not connect to|Unable to connect to|Failed to fetch|Cannot initiate the connection to|Connection failed|does not have a Release file)[^;]*`)
)

// explainArchive turns what apt said into the place and the way out.
func explainArchive(err error, s Spec) error {
	text := err.Error()
	if m := unknownPackage.FindStringSubmatch(text); m != nil {
		return withHint(fmt.Errorf("package %s is not in the archive of %s: %w", firstOf(m[1], m[2]), s.Distribution, err),
			"correct the name in the list of packages, or choose a mirror or snapshot that has it")
	}
	if m := unreachable.FindString(text); m != "" {
		return withHint(fmt.Errorf("cannot reach the package archive (%s): %s", archiveName(s), m),
			"look at the network and at http_proxy, or choose another mirror")
	}
	return err
}
