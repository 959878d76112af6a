package host_test

import (
	"context"
	"errors"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/host/hosttest"
)

type answer = func(member string, path dbus.ObjectPath) (signature string, body []any, errorName string)

// withSystemd gives a live host whose root has systemd's socket.
func withSystemd(t *testing.T, answer answer) (*host.LiveHost, *hosttest.Systemd) {
	t.Helper()
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "run/systemd"), 0o755))
	f := hosttest.ServeSystemd(t, filepath.Join(dir, "run/systemd/private"), answer)
	live, err := host.Live(host.LiveOptions{Root: dir})
	must(t, err)
	t.Cleanup(func() { must(t, live.Close()) })
	return live, f
}

func properties(p map[string]any) []any {
	out := map[string]dbus.Variant{}
	for k, v := range p {
		out[k] = dbus.MakeVariant(v)
	}
	return []any{out}
}

type allowList struct {
	Allow bool
	Names []string
}

type profile struct {
	Ignore bool
	Name   string
}

type prefix struct {
	Family int32
	Bytes  []byte
	Length uint32
}

type execCommand struct {
	Path string
	Argv []string
}

func TestUnitProperties(t *testing.T) {
	live, _ := withSystemd(t, func(member string, path dbus.ObjectPath) (string, []any, string) {
		if member != "GetAll" || path != "/org/freedesktop/systemd1/unit/vault_2eservice" {
			return "", nil, "org.freedesktop.DBus.Error.UnknownObject"
		}
		return "a{sv}", properties(map[string]any{
			"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled",
			"NoNewPrivileges": true, "PrivateUsers": false,
			"LimitCORE": uint64(0), "LimitMEMLOCK": uint64(math.MaxUint64),
			"MainPID": uint32(42), "UMask": uint32(0o77), "RuntimeDirectoryMode": uint32(0o750), "OOMScoreAdjust": int32(-900),
			"Requires":           []string{"hostcheck-gate.service", "sysinit.target"},
			"ReadWritePaths":     []string{},
			"SystemCallFilter":   allowList{true, []string{"read", "write"}},
			"SystemCallDeny":     allowList{false, []string{"mount", "swapon"}},
			"RestrictNamespaces": uint64(0),
			"SecureBits":         int32(1<<4 | 1), "SystemCallErrorNumber": int32(1),
			"CPUAffinity": []byte{}, "InvocationID": []byte{0xca, 0xfe},
			"AppArmorProfile": profile{true, "vault"}, "SmackProcessLabel": profile{false, ""},
			"IPAddressDeny": []prefix{{10, make([]byte, 16), 0}, {2, make([]byte, 4), 0}}, "IPAddressAllow": []prefix{},
			"NothingDenied":         allowList{false, nil},
			"NothingAllowed":        allowList{true, nil},
			"CapabilityBoundingSet": uint64(1<<14 | 1<<1 | 1<<45), "AmbientCapabilities": uint64(0),
			"ExecStart": []execCommand{{"/usr/bin/vault", []string{"vault", "server"}}},
		}), ""
	})
	u, err := live.Unit(t.Context(), "vault.service")
	must(t, err)
	if u.Name != "vault.service" || u.LoadState != "loaded" || u.ActiveState != "active" || u.UnitFileState != "enabled" {
		t.Errorf("unit %+v", u)
	}
	for name, want := range map[string]string{
		"NoNewPrivileges": "yes", "PrivateUsers": "no", "LimitCORE": "0", "LimitMEMLOCK": "infinity",
		"MainPID": "42", "UMask": "0077", "RuntimeDirectoryMode": "0750", "OOMScoreAdjust": "-900",
		"Requires": "hostcheck-gate.service sysinit.target", "ReadWritePaths": "",
		"SystemCallFilter": "read write", "SystemCallDeny": "~mount swapon", "NothingDenied": "", "NothingAllowed": "",
		"CapabilityBoundingSet": "cap_45 cap_dac_override cap_ipc_lock", "AmbientCapabilities": "",
		"RestrictNamespaces": "yes", "SecureBits": "noroot keep-caps", "SystemCallErrorNumber": "EPERM",
		"CPUAffinity": "", "InvocationID": "cafe", "AppArmorProfile": "-vault", "SmackProcessLabel": "",
		"IPAddressDeny": "0.0.0.0/0 ::/0", "IPAddressAllow": "",
		"ExecStart": `[["/usr/bin/vault",["vault","server"]]]`,
	} {
		if got, ok := u.Properties[name]; !ok || got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if _, err := live.Unit(t.Context(), "other.service"); err == nil || !strings.Contains(err.Error(), "other.service") {
		t.Errorf("an object that systemd does not know: %v", err)
	}
}

func TestUnknownUnitIsNoError(t *testing.T) {
	live, _ := withSystemd(t, func(string, dbus.ObjectPath) (string, []any, string) {
		return "a{sv}", properties(map[string]any{"LoadState": "not-found", "ActiveState": "inactive"}), ""
	})
	u, err := live.Unit(t.Context(), "ssh.service")
	if err != nil || u.LoadState != "not-found" || u.ActiveState != "inactive" {
		t.Errorf("got %+v, %v", u, err)
	}
}

// listed is a row of ListUnits.
type listed struct {
	Name, Description, LoadState, ActiveState, SubState, Followed string
	Path                                                          dbus.ObjectPath
	JobID                                                         uint32
	JobType                                                       string
	JobPath                                                       dbus.ObjectPath
}

func TestUnits(t *testing.T) {
	live, _ := withSystemd(t, func(member string, _ dbus.ObjectPath) (string, []any, string) {
		if member != "ListUnits" {
			return "", nil, "org.freedesktop.DBus.Error.UnknownMethod"
		}
		return "a(ssssssouso)", []any{[]listed{
			{"z.service", "", "loaded", "failed", "", "", "/z", 0, "", "/"},
			{"a.mount", "", "masked", "inactive", "", "", "/a", 0, "", "/"},
		}}, ""
	})
	got, err := live.Units(t.Context())
	must(t, err)
	want := []host.UnitStatus{{"a.mount", "masked", "inactive"}, {"z.service", "loaded", "failed"}}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// The state of one unit is one question, and none of its settings are carried.
func TestUnitStatus(t *testing.T) {
	live, f := withSystemd(t, func(member string, _ dbus.ObjectPath) (string, []any, string) {
		if member != "ListUnitsByNames" {
			return "", nil, "org.freedesktop.DBus.Error.UnknownMethod"
		}
		return "a(ssssssouso)", []any{[]listed{{"ssh.service", "", "masked", "inactive", "", "", "/s", 0, "", "/"}}}, ""
	})
	for range 2 {
		got, err := live.UnitStatus(t.Context(), "sshd.service")
		must(t, err)
		if want := (host.UnitStatus{Name: "sshd.service", LoadState: "masked", ActiveState: "inactive"}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if calls := f.Calls.Load(); calls != 1 {
		t.Errorf("%d calls, want 1", calls)
	}
	f.Answer = func(string, dbus.ObjectPath) (string, []any, string) { return "a(ssssssouso)", []any{[]listed{}}, "" }
	if _, err := live.UnitStatus(t.Context(), "other.service"); err == nil {
		t.Error("an empty answer was taken for a state")
	}
}

// One run asks systemd once for each unit, over one client, and the end of the context of the
// check that came first does not end the connection for the others.
func TestSystemdIsAskedOnce(t *testing.T) {
	live, f := withSystemd(t, func(string, dbus.ObjectPath) (string, []any, string) {
		return "a{sv}", properties(map[string]any{"LoadState": "loaded"}), ""
	})
	first, cancel := context.WithCancel(t.Context())
	_, err := live.Unit(first, "a.service")
	must(t, err)
	cancel()
	for range 3 {
		_, err := live.Unit(t.Context(), "a.service")
		must(t, err)
		_, err = live.Unit(t.Context(), "b.service")
		must(t, err)
	}
	if calls := f.Calls.Load(); calls != 2 {
		t.Errorf("%d calls, want 2", calls)
	}
	if connections := f.Connections.Load(); connections != 2 { // go-systemd has one for calls and one for signals
		t.Errorf("%d connections, want 2", connections)
	}
}

func TestAnImpatientCheckDoesNotSpoilTheFact(t *testing.T) {
	release := make(chan struct{})
	live, _ := withSystemd(t, func(string, dbus.ObjectPath) (string, []any, string) {
		<-release
		return "a{sv}", properties(map[string]any{"LoadState": "loaded"}), ""
	})
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := live.Unit(short, "a.service"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	close(release)
	if u, err := live.Unit(t.Context(), "a.service"); err != nil || u.LoadState != "loaded" {
		t.Errorf("got %+v, %v", u, err)
	}
}

func TestNoSystemd(t *testing.T) {
	live, err := host.Live(host.LiveOptions{Root: t.TempDir()})
	must(t, err)
	defer live.Close()
	if _, err := live.Unit(t.Context(), "a.service"); err == nil || !strings.Contains(err.Error(), "needs uid 0") {
		t.Errorf("got %v", err)
	}
}

// A socket that accepts and then says nothing must not hang a check beyond its time.
func TestSilentSystemd(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "run/systemd"), 0o755))
	listener, err := net.Listen("unix", filepath.Join(dir, "run/systemd/private"))
	must(t, err)
	defer listener.Close()
	live, err := host.Live(host.LiveOptions{Root: dir})
	must(t, err)
	defer live.Close()
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := live.Unit(short, "a.service"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
