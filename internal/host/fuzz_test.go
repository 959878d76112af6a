package host

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

func FuzzKernelArguments(f *testing.F) {
	for _, s := range []string{"", "quiet ro", `a="b c" d`, `"a b`, "a -- b", "\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, a := range parseKernelArguments(b) {
			if len(a) > len(b) {
				t.Fatalf("%q from %q", a, b)
			}
		}
	})
}

func FuzzModules(f *testing.F) {
	f.Add([]byte("nf_tables 372736 1 nft_ct, Live 0x0\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseModules(b)
		if err == nil && (!slices.IsSorted(got) || slices.Contains(got, "")) {
			t.Fatalf("%q", got)
		}
	})
}

func FuzzStatus(f *testing.F) {
	f.Add([]byte(status))
	if b, err := os.ReadFile("/proc/self/status"); err == nil {
		f.Add(b)
	}
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = parseStatus(b) })
}

func FuzzLimits(f *testing.F) {
	f.Add([]byte(limits))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := parseLimits(b); err == nil && len(got) == 0 {
			t.Fatal("no limits and no error")
		}
	})
}

func FuzzUnescapeOctal(f *testing.F) {
	f.Add(`/a\040b\134`)
	f.Fuzz(func(t *testing.T, s string) {
		if got := unescapeOctal(s); len(got) > len(s) {
			t.Fatalf("%q from %q", got, s)
		}
	})
}

func FuzzNormalRule(f *testing.F) {
	for _, s := range []string{
		`ip saddr { 10.0.0.0/9, 10.128.0.0/9 } tcp dport { 1-5, 6 } accept`, `log prefix "a { b" limit rate 5/second`,
		`iifname "lo" ct state related,established counter packets 1 bytes 2 accept`, `icmpv6 type { 134, nd-neighbor-solicit }`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once := NormalRule(s)
		if twice := NormalRule(once); twice != once {
			t.Fatalf("%q becomes %q becomes %q", s, once, twice)
		}
	})
}

func FuzzNormalElements(f *testing.F) {
	f.Add("10.0.0.0/8 10.0.0.1-11.0.0.5")
	f.Add("::/0 fe80::1")
	f.Fuzz(func(t *testing.T, s string) {
		once, err := NormalElements(strings.Fields(s))
		if err != nil {
			return
		}
		twice, err := NormalElements(once)
		if err != nil || !slices.Equal(once, twice) {
			t.Fatalf("%q becomes %q becomes %q, %v", s, once, twice, err)
		}
	})
}

// FuzzRule feeds the decoder what a kernel newer than we know might send.
func FuzzRule(f *testing.F) {
	seed := func(list ...expr.Any) {
		var attributes []netlink.Attribute
		for _, e := range list {
			b, err := expr.Marshal(unix.NFPROTO_INET, e)
			if err != nil {
				f.Fatal(err)
			}
			attributes = append(attributes, netlink.Attribute{Type: unix.NLA_F_NESTED | unix.NFTA_LIST_ELEM, Data: b})
		}
		b, err := netlink.MarshalAttributes(attributes)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(unix.NFPROTO_INET), b)
	}
	seed(&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, &expr.Cmp{Register: 1, Data: []byte{6}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Range{Register: 1, FromData: []byte{0, 1}, ToData: []byte{0, 9}}, &expr.Verdict{Kind: expr.VerdictAccept})
	seed(&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, &expr.Cmp{Register: 1, Data: []byte{2}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: []byte{255, 128, 0, 0}, Xor: make([]byte, 4)},
		&expr.Cmp{Register: 1, Data: []byte{10, 0, 0, 0}}, &expr.Counter{}, &expr.Log{Key: 1 << unix.NFTA_LOG_PREFIX, Data: []byte("x")})
	seed(&expr.Ct{Key: expr.CtKeySTATE, Register: 1}, &expr.Lookup{SourceRegister: 1, SetName: "s"},
		&expr.Limit{Rate: 5, Unit: expr.LimitTimeSecond}, &expr.Reject{}, &expr.Verdict{Kind: expr.VerdictJump, Chain: "c"})
	sets := map[string]nftSet{"s": {plain: true, known: true, size: 2, keyType: nftPort}}
	f.Fuzz(func(_ *testing.T, family byte, b []byte) {
		list, err := parseExpressions(family, b)
		if err == nil {
			_ = ruleText(nftables.TableFamily(family), sets, list)
		}
	})
}

func FuzzSet(f *testing.F) {
	f.Add([]byte{10, 0, 0, 0, 11, 0, 0, 0}, byte(0b10), true)
	f.Fuzz(func(t *testing.T, keys []byte, ends byte, isInterval bool) {
		var elements []nftables.SetElement
		for i := 0; i*4 < len(keys); i++ {
			key := keys[4*i : min(4*i+4, len(keys))]
			elements = append(elements, nftables.SetElement{Key: key, IntervalEnd: ends>>(i%8)&1 == 1})
		}
		set := decodeSet(&nftables.Set{Interval: isInterval, KeyType: nftables.TypeIPAddr}, elements)
		_ = set.elements()
	})
}

func FuzzReplay(f *testing.F) {
	f.Add([]byte(`{"schema":"strongroom.capture/v1","host":{},"answers":[{"method":"Swaps","value":[]}]}`))
	f.Add([]byte(`{"schema":"strongroom.capture/v1","host":{},"answers":[{"method":"ReadFile","argument":"/x","error":{"kind":"not-exist","text":"x"}}]}`))
	f.Fuzz(func(_ *testing.T, b []byte) {
		r, err := Replay(bytes.NewReader(b))
		if err != nil {
			return
		}
		_, _ = r.Swaps()
		_, _ = r.ReadFile("/x")
		_, _ = r.Process(1)
	})
}

// FuzzRedact: what was redacted once has nothing left to redact, and JSON stays JSON.
func FuzzRedact(f *testing.F) {
	for _, s := range []string{
		"-----BEGIN RSA PRIVATE KEY-----\nx", `{"password": "abc"}`, "hvs.aaaaaaaaaaaaaaaaaaaaaaaa", "a:$6$salt$hash:1", "https://u:p@h/", "token=abcdefghij",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := redactValue(map[string]string{"x": s})
		if err != nil || !json.Valid(got) {
			t.Fatalf("%q: %s, %v", s, got, err)
		}
		once := redactText(s)
		if twice := redactText(once); twice != once {
			t.Fatalf("%q becomes %q becomes %q", s, once, twice)
		}
	})
}
