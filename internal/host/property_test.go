package host

import (
	"math"
	"testing"
)

func TestMasks(t *testing.T) {
	for _, c := range []struct {
		name  string
		value any
		want  string
	}{
		{"RestrictNamespaces", uint64(0), "yes"},
		{"RestrictNamespaces", uint64(0x7e020000), "no"},
		{"RestrictNamespaces", uint64(0x40000000 | 0x08000000), "ipc net"},
		{"CapabilityBoundingSet", uint64(0), ""},
		{"CapabilityBoundingSet", uint64(1<<10 | 1<<14), "cap_ipc_lock cap_net_bind_service"},
		{"SecureBits", int32(0), ""},
		{"SystemCallErrorNumber", int32(math.MaxInt32), "kill"},
		{"SystemCallErrorNumber", int32(0), "0"},
		{"MemorySwapMax", uint64(0), "0"},
		{"MemoryMax", uint64(math.MaxUint64), "infinity"},
		{"UMask", uint32(0o27), "0027"},
		{"LogLevelMax", int32(-1), "-1"},
		{"DeviceAllow", [][]any{{"/dev/null", "rw"}}, `[["/dev/null","rw"]]`},
		{"LoadCredential", [][]any{}, "[]"},
		{"Odd", map[int]string{1: "a"}, `{"1":"a"}`},
	} {
		if got := canonicalProperty(c.name, c.value); got != c.want {
			t.Errorf("%s %v: got %q, want %q", c.name, c.value, got, c.want)
		}
	}
	if got := capabilityNames(math.MaxUint64); got == "" || got != capabilityNames(1<<len(capabilities)-1) {
		t.Errorf("all capabilities: %q", got)
	}
}
