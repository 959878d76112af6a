package host

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
)

// procfs of prometheus reads what it knows (swaps, mountinfo, sockets). The parsers of our own,
// in kernelargs.go, modules.go and process.go, say what procfs lacks.

func (l *LiveHost) procfs() (procfs.FS, error) {
	return procfs.NewFS(filepath.Join(l.dir, "proc"))
}

// parserGaveUp makes an error of a panic: procfs takes for granted that the kernel writes as many fields as it always
// did.
func parserGaveUp(err *error, path string) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("cannot read %s: its parser gave up: %v", path, p)
	}
}

func (l *LiveHost) readSwaps() (_ []Swap, err error) {
	defer parserGaveUp(&err, "/proc/swaps")
	proc, err := l.procfs()
	if err != nil {
		return nil, fmt.Errorf("cannot read /proc/swaps: %w", err)
	}
	list, err := proc.Swaps()
	if err != nil {
		return nil, fmt.Errorf("cannot read /proc/swaps: %w", err)
	}
	out := make([]Swap, 0, len(list))
	for _, s := range list {
		out = append(out, Swap{Device: unescapeOctal(s.Filename), Type: s.Type, SizeKB: s.Size})
	}
	return out, nil
}

// readMounts asks PID 1, because the asking process may live in a mount namespace of its own:
// the gate's sandbox has mounts that the host does not.
func (l *LiveHost) readMounts() (_ []Mount, err error) {
	defer parserGaveUp(&err, "/proc/1/mountinfo")
	proc, err := l.procfs()
	if err != nil {
		return nil, fmt.Errorf("cannot read /proc/1/mountinfo: %w", err)
	}
	list, err := proc.GetProcMounts(1)
	if err != nil {
		return nil, fmt.Errorf("cannot read /proc/1/mountinfo: %w", err)
	}
	out := make([]Mount, 0, len(list))
	for _, m := range list {
		out = append(out, Mount{
			Point:   unescapeOctal(m.MountPoint),
			FSType:  m.FSType,
			Source:  unescapeOctal(m.Source),
			Device:  m.MajorMinorVer,
			Options: mountOptions(m.Options, m.SuperOptions),
		})
	}
	return out, nil
}

// mountOptions joins the options of the mount and of its superblock. A mount is read-only when
// either of them is, so "ro" wins over "rw".
func mountOptions(sets ...map[string]string) []string {
	var out []string
	for _, set := range sets {
		for k, v := range set {
			if v != "" {
				k += "=" + v
			}
			out = append(out, unescapeOctal(k))
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	if slices.Contains(out, "ro") {
		out = slices.DeleteFunc(out, func(o string) bool { return o == "rw" })
	}
	return out
}

// unescapeOctal undoes what the kernel does to blanks, newlines, '#' and backslashes in paths
// ("\040"). procfs leaves them as they are.
func unescapeOctal(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

const tcpListen = 0x0a // TCP_LISTEN of the kernel's tcp_states.h

// readListeners asks for the sockets of PID 1's network namespace, for the same reason as
// readMounts. The files of IPv6 are missing when the kernel runs without it.
//
// procfs calls its readers of TCP deprecated in favour of sock_diag, which is faster on a machine
// with a large table of connections. But sock_diag needs kernel modules (inet_diag, tcp_diag) that
// nothing else on the node needs, and it knows no namespace but the asker's.
func (l *LiveHost) readListeners() (_ []Listener, err error) {
	defer parserGaveUp(&err, "/proc/1/net")
	proc, err := procfs.NewFS(filepath.Join(l.dir, "proc/1"))
	if err != nil {
		return nil, fmt.Errorf("cannot read /proc/1/net: %w", err)
	}
	tcp, err := proc.NetTCP() //lint:ignore SA1019 see above
	if err != nil {
		return nil, fmt.Errorf("cannot read /proc/1/net/tcp: %w", err)
	}
	tcp6, err := proc.NetTCP6() //lint:ignore SA1019 see above
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot read /proc/1/net/tcp6: %w", err)
	}
	udp, err := proc.NetUDP()
	if err != nil {
		return nil, fmt.Errorf("cannot read /proc/1/net/udp: %w", err)
	}
	udp6, err := proc.NetUDP6()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot read /proc/1/net/udp6: %w", err)
	}
	var out []Listener
	for _, s := range append(tcp, tcp6...) {
		if s.St == tcpListen {
			out = append(out, Listener{"tcp", s.LocalAddr.String(), uint16(s.LocalPort), uint32(s.UID)})
		}
	}
	for _, s := range append(udp, udp6...) {
		if s.RemPort == 0 && s.RemAddr.IsUnspecified() {
			out = append(out, Listener{"udp", s.LocalAddr.String(), uint16(s.LocalPort), uint32(s.UID)})
		}
	}
	slices.SortFunc(out, compareListeners)
	return out, nil
}

func compareListeners(a, b Listener) int {
	if c := strings.Compare(a.Protocol, b.Protocol); c != 0 {
		return c
	}
	if c := int(a.Port) - int(b.Port); c != 0 {
		return c
	}
	return strings.Compare(a.Address, b.Address)
}
