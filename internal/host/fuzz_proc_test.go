package host

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/godbus/dbus/v5"
)

// FuzzProcTables: no table of the kernel, and nothing that stands in for one, crashes those who read it, and what
// they make of it is in order. procfs parses; what is ours is around it.
func FuzzProcTables(f *testing.F) {
	for _, seed := range []struct{ mountinfo, swaps, tcp, udp string }{
		{
			"22 1 254:0 / / ro,relatime shared:1 - squashfs /dev/mapper/root ro,errors=continue\n24 22 0:21 / /a\\040b rw,nosuid - tmpfs tmpfs rw,size=1k\n",
			"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/vda2 partition 1048572 0 -2\n",
			"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n" +
				"   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 1 0000000000000000 100 0 0 10 0\n",
			"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n" +
				"   0: 00000000:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000   998        0 12346 2 0000000000000000 0\n",
		},
		{"1 2 3:4 / / rw -", "x", "", "\n\n"},
	} {
		f.Add([]byte(seed.mountinfo), []byte(seed.swaps), []byte(seed.tcp), []byte(seed.udp))
	}
	dir := f.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "proc/1/net"), 0o755); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, mountinfo, swaps, tcp, udp []byte) {
		for name, content := range map[string][]byte{"1/mountinfo": mountinfo, "swaps": swaps, "1/net/tcp": tcp, "1/net/udp": udp} {
			if err := os.WriteFile(filepath.Join(dir, "proc", name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		h, err := Live(LiveOptions{Root: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		mounts, err := h.Mounts()
		if err == nil {
			for _, m := range mounts {
				if !slices.IsSorted(m.Options) || slices.Contains(m.Options, "ro") && slices.Contains(m.Options, "rw") {
					t.Errorf("options %q of %q", m.Options, m.Point)
				}
			}
		}
		_, _ = h.Swaps()
		if listeners, err := h.Listeners(); err == nil && !slices.IsSortedFunc(listeners, compareListeners) {
			t.Errorf("%v", listeners)
		}
	})
}

// FuzzProperty: whatever systemd sends for a property, of whatever type, it has one canonical text, which is the same each time.
func FuzzProperty(f *testing.F) {
	for name, v := range map[string]any{
		"NoNewPrivileges": true, "UMask": uint32(0o77), "CapabilityBoundingSet": uint64(1 << 14), "LimitCORE": uint64(0), "SystemCallErrorNumber": int32(1),
		"After": []string{"a.service", "b.service"}, "RestrictNamespaces": uint64(0x7e020000), "SetCredential": []byte("x"),
		"IPAddressDeny": []struct {
			F int32
			A []byte
			P uint32
		}{{2, []byte{10, 0, 0, 0}, 8}},
		"SystemCallFilter": struct {
			Allow bool
			Names []string
		}{true, []string{"read", "write"}},
		"ExecStart": []struct {
			Path string
			Args []string
		}{{"/usr/bin/vault", []string{"server"}}},
	} {
		m := &dbus.Message{Type: dbus.TypeMethodReply, Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldReplySerial: dbus.MakeVariant(uint32(1)), dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(v)),
		}, Body: []any{v}}
		var b bytes.Buffer
		if err := m.EncodeTo(&b, binary.LittleEndian); err != nil {
			f.Fatal(err)
		}
		f.Add(name, b.Bytes())
	}
	f.Fuzz(func(t *testing.T, name string, raw []byte) {
		if bytes.Contains(raw, []byte("()")) {
			// D-Bus forbids the empty struct. godbus 5.2.4 lets it pass and reads an array of them for ever, since no element takes a
			// byte. What we read comes from systemd's own socket, which only root can open and only systemd answers on.
			return
		}
		m, err := dbus.DecodeMessage(bytes.NewReader(raw))
		if err != nil {
			return
		}
		for _, v := range m.Body {
			if variant, ok := v.(dbus.Variant); ok {
				v = variant.Value()
			}
			if a, b := canonicalProperty(name, v), canonicalProperty(name, v); a != b {
				t.Errorf("%s: %q and %q", name, a, b)
			}
		}
	})
}
