package resource

import (
	"math"
	"strings"
	"testing"
)

// FuzzAmount: what is read is a number that is not negative, and a bound that it meets is met from one side only.
func FuzzAmount(f *testing.F) {
	for _, s := range []string{"768h", "1d", "24h1s", "86400", "", "0", "1h30", "ms", "-1h", "999999999999d", "1m30s", "10ms", "1.5h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, ok := amount(text)
		if !ok {
			return
		}
		if math.IsNaN(n) || math.IsInf(n, 0) || n < 0 || strings.ContainsAny(text, "-+. ") {
			t.Errorf("%q is %v", text, n)
		}
		if !compareAmounts(text, text, 1) || !compareAmounts(text, text, -1) {
			t.Errorf("%q does not meet itself", text)
		}
	})
}

// FuzzListenAddresses: each address of a listener has a port, and none is dialled twice; nonsense is refused by the dialler.
func FuzzListenAddresses(f *testing.F) {
	for _, s := range []string{"[::]:8200", "0.0.0.0:8200", ":8200", "10.1.2.3:8300", "[::1]", "vault", "", "[2001:db8::1]:1", "]:", "::"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, address string) {
		config := settings{map[string][]string{"listener.tcp.address": {address, address}}, map[string]int{"listener.tcp": 3}}
		got := listenAddresses(config)
		if len(got) == 0 || len(got) > 2 {
			t.Errorf("%q gives %q", address, got)
		}
		for _, a := range got {
			if !strings.Contains(a, ":") {
				t.Errorf("%q gives %q", address, a)
			}
		}
	})
}

// FuzzSecrets: a secret under a forbidden name is found, whatever it is, and never told.
func FuzzSecrets(f *testing.F) {
	for _, s := range []string{"hush", "env://X", "/run/x", "", "a=b token=xyzzy", "hvs.CAESIJ1234567890abcdefghij", "https://a:b@c"} {
		f.Add(s)
	}
	v := &VaultConfig{Secrets: []string{"token"}}
	f.Fuzz(func(t *testing.T, value string) {
		what := v.secret("seal.transit.token", value)
		reference := value == "" || strings.HasPrefix(value, "/") || strings.HasPrefix(value, "env://") || strings.HasPrefix(value, "file://")
		if what == "" && !reference {
			t.Errorf("%q is not seen", value)
		}
		if len(value) > 20 && strings.Contains(what, value) {
			t.Errorf("%q is told", value)
		}
	})
}
