package resource

import (
	"strings"
	"testing"
)

func FuzzUtmp(f *testing.F) {
	f.Add([]byte{})
	// BOOT_TIME and LOGIN_PROCESS as systemd-update-utmp writes them, and a USER_PROCESS.
	for _, kind := range []byte{2, 6, 7} {
		entry := make([]byte, 384)
		entry[0] = kind
		copy(entry[8:], "tty1")
		copy(entry[44:], "reboot")
		f.Add(entry)
		f.Add(append(entry, 0))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		users, err := parseUtmp(b)
		if err == nil && len(users) > len(b)/384 {
			t.Fatalf("%d users in %d bytes", len(users), len(b))
		}
		if strings.ContainsAny(strings.Join(users, ""), "\x1b\n\x00") {
			t.Fatalf("%q", users)
		}
	})
}
