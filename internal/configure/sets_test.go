package configure_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/configure"
	"github.com/strongroom/strongroom/internal/node"
)

func TestSetsMergeRanges(t *testing.T) {
	cases := map[string]struct {
		networks string
		want     string // of the sets api_clients4 and api_clients6
	}{
		"empty":                 {"", ""},
		"both families":         {"10.0.0.0/8 2001:db8::/32", "10.0.0.0-10.255.255.255 2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"},
		"unsorted":              {"192.0.2.1/32 10.0.0.0/24", "10.0.0.0-10.0.0.255 192.0.2.1-192.0.2.1"},
		"one inside another":    {"10.0.0.0/8 10.1.0.0/16 10.1.2.3/32", "10.0.0.0-10.255.255.255"},
		"twice":                 {"10.0.0.1/32 10.0.0.1/32", "10.0.0.1-10.0.0.1"},
		"neighbours":            {"10.0.0.0/25 10.0.0.128/25", "10.0.0.0-10.0.0.255"},
		"not quite neighbours":  {"10.0.0.0/26 10.0.0.128/25", "10.0.0.0-10.0.0.63 10.0.0.128-10.0.0.255"},
		"to the highest":        {"255.255.255.0/24 255.255.255.255/32", "255.255.255.0-255.255.255.255"},
		"everything":            {"0.0.0.0/0 10.0.0.0/8 ::/0", "0.0.0.0-255.255.255.255 ::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		"families do not touch": {"255.255.255.255/32 ::/128", "255.255.255.255-255.255.255.255 ::-::"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var f node.Firewall
			for n := range strings.FieldsSeq(c.networks) {
				f.APIClients = append(f.APIClients, netip.MustParsePrefix(n))
			}
			sets := configure.Sets(f)
			if len(sets) != 12 {
				t.Fatalf("got %d sets, want all twelve", len(sets))
			}
			var got []string
			for _, s := range sets {
				if s.Name != "api_clients4" && s.Name != "api_clients6" && len(s.Ranges) > 0 {
					t.Errorf("set %s has elements", s.Name)
				}
				for _, r := range s.Ranges {
					if r.First.Is6() != s.IPv6 {
						t.Errorf("%v is in %s", r, s.Name)
					}
					got = append(got, r.First.String()+"-"+r.Last.String())
				}
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
