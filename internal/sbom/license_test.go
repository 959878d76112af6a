package sbom_test

import (
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/sbom"
)

const head = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n"

func TestReadCopyright(t *testing.T) {
	for name, tt := range map[string]struct{ text, want, named string }{
		"one":             {"Files: *\nLicense: GPL-2+\n text: of the licence\n", "GPL-2.0-or-later", ""},
		"only":            {"Files: *\nLicense: LGPL-2.1\n", "LGPL-2.1-only", ""},
		"several, once":   {"License: Expat\n\nLicense: GPL-3\n\nLicense: Expat\n", "GPL-3.0-only AND MIT", ""},
		"a choice":        {"License: GPL-1+ or Artistic\n", "GPL-1.0-or-later OR Artistic-1.0", ""},
		"choice and more": {"License: GPL-1+ or Artistic\n\nLicense: ISC\n", "(GPL-1.0-or-later OR Artistic-1.0) AND ISC", ""},
		"not SPDX's":      {"License: public-domain\n", "LicenseRef-debian-src-public-domain", "public-domain"},
		"no later":        {"License: ISC+\n", "LicenseRef-debian-src-ISCplus", "ISC+"},
		"an exception":    {"License: GPL-2+ with OpenSSL exception\n", "LicenseRef-debian-src-GPL-2plus-with-OpenSSL-exception", "GPL-2+ with OpenSSL exception"},
		"commas":          {"License: GPL-2 or MPL-2.0, and ISC\n", "LicenseRef-debian-src-GPL-2-or-MPL-2.0-and-ISC", "GPL-2 or MPL-2.0, and ISC"},
	} {
		l := sbom.ReadCopyright("src", []byte(head+tt.text))
		if l == nil || l.Expression != tt.want || tt.named != l.Named[tt.want] {
			t.Errorf("%s: %+v, want %s", name, l, tt.want)
		}
	}
	for name, text := range map[string]string{"prose": "This is free software.\nLicense: GPL-2\n", "nothing": "", "no licence": head + "Files: *\n"} {
		if l := sbom.ReadCopyright("src", []byte(text)); l != nil {
			t.Errorf("%s: %+v", name, l)
		}
	}
	if l := sbom.ReadCopyright("src", []byte(head+"License: BSD+x\n\nLicense: BSDplusx\n")); len(l.Named) != 2 {
		t.Errorf("two licences with one identifier: %+v", l)
	}
}

func FuzzReadCopyright(f *testing.F) {
	f.Add([]byte(head + "License: GPL-1+ or Artistic, and Expat\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if l := sbom.ReadCopyright("src", text); l != nil && strings.TrimSpace(l.Expression) == "" {
			t.Error("a licence without a word")
		}
	})
}
