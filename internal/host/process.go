package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Process implements Host.
//
// The parsers are our own because procfs knows neither hard limits nor the fields Groups,
// NoNewPrivs and Seccomp, and reading status twice could mix two moments of one process.
func (l *LiveHost) Process(pid int) (Process, error) {
	if pid <= 0 {
		return Process{}, fmt.Errorf("cannot read process %d: not a process id", pid)
	}
	dir := "/proc/" + strconv.Itoa(pid)
	status, err := l.ReadFile(dir + "/status")
	if err != nil {
		return Process{}, err
	}
	p, err := parseStatus(status)
	if err != nil {
		return Process{}, fmt.Errorf("cannot parse %s/status: %w", dir, err)
	}
	p.PID = pid
	limits, err := l.ReadFile(dir + "/limits")
	if err != nil {
		return Process{}, err
	}
	if p.Limits, err = parseLimits(limits); err != nil {
		return Process{}, fmt.Errorf("cannot parse %s/limits: %w", dir, err)
	}
	return p, l.surroundings(dir, &p)
}

// namespaceKinds are the links of /proc/PID/ns. A kernel that was built without one has no link.
var namespaceKinds = []string{"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"}

// surroundings reads what /proc/PID says outside of status.
func (l *LiveHost) surroundings(dir string, p *Process) error {
	// The kernel gives the files of a process that may not be dumped to root, but not the directory itself.
	owner, err := l.Stat(dir + "/environ")
	if err != nil {
		return err
	}
	p.Dumpable = uint64(owner.UID) == p.UIDs[1]
	read := func(name string, parse func([]byte) error) {
		if err != nil {
			return
		}
		var b []byte
		if b, err = l.ReadFile(dir + "/" + name); err == nil {
			if err = parse(b); err != nil {
				err = fmt.Errorf("cannot parse %s/%s: %w", dir, name, err)
			}
		}
	}
	read("cgroup", func(b []byte) (err error) { p.ControlGroup, err = parseControlGroup(b); return })
	read("oom_score_adj", func(b []byte) (err error) { p.OOMScoreAdjust, err = strconv.Atoi(strings.TrimSpace(string(b))); return })
	read("coredump_filter", func(b []byte) (err error) {
		if text := strings.TrimSpace(string(b)); text != "" { // a kernel thread has none
			p.CoredumpFilter, err = strconv.ParseUint(text, 16, 64)
		}
		return
	})
	read("cmdline", func(b []byte) error {
		for _, a := range splitZero(b) {
			p.Arguments = append(p.Arguments, redactText(string(a)))
		}
		return nil
	})
	read("environ", func(b []byte) error { p.Environment = environmentNames(b, nil); return nil })
	if err != nil {
		return err
	}
	p.Namespaces = map[string]string{}
	for _, kind := range namespaceKinds {
		link, err := l.Lstat(dir + "/ns/" + kind)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		p.Namespaces[kind] = strings.TrimSuffix(strings.TrimPrefix(link.Target, kind+":["), "]")
	}
	return nil
}

// parseControlGroup gives the path in the unified hierarchy, which systemd keeps its units in: "0::/path".
func parseControlGroup(b []byte) (string, error) {
	for line := range strings.Lines(string(b)) {
		if group, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			return group, nil
		}
	}
	return "", errors.New("no unified control group")
}

// splitZero splits a list in which each item ends with a zero byte.
func splitZero(b []byte) [][]byte {
	b = bytes.TrimSuffix(b, []byte{0})
	if len(b) == 0 {
		return nil
	}
	return bytes.Split(b, []byte{0})
}

// environmentNames gives the names of "NAME=value" items, sorted, each once; never a value. known holds
// names that were given before, so that a name which many processes have is one string.
func environmentNames(b []byte, known map[string]string) []string {
	var names []string
	for _, item := range splitZero(b) {
		name, _, ok := bytes.Cut(item, []byte{'='})
		if !ok || len(name) == 0 {
			continue // a process may overwrite its environment; what is no assignment may be a value
		}
		text, have := known[string(name)]
		if !have {
			text = redactText(printable(name))
			if known != nil {
				known[string(name)] = text
			}
		}
		names = append(names, text)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// printable keeps names that a process chose for itself from writing to a terminal.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, string(b))
}

// parseStatus reads /proc/PID/status. Every field that Process has must be there, since a missing
// one would read as zero and zero passes for harmless; but for the Vm fields, which kernel
// threads lack and which are true zeros there.
func parseStatus(b []byte) (Process, error) {
	fields := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":"); ok {
			fields[k] = strings.TrimSpace(v)
		}
	}
	r := statusReader{fields: fields}
	p := Process{
		Name:           r.text("Name"),
		CapInheritable: r.number("CapInh", 16),
		CapPermitted:   r.number("CapPrm", 16),
		CapEffective:   r.number("CapEff", 16),
		CapBounding:    r.number("CapBnd", 16),
		CapAmbient:     r.number("CapAmb", 16),
		NoNewPrivs:     r.number("NoNewPrivs", 10) != 0,
		Seccomp:        int(r.number("Seccomp", 10)),
		VmSizeKB:       r.kib("VmSize"),
		VmLckKB:        r.kib("VmLck"),
		VmSwapKB:       r.kib("VmSwap"),
		Groups:         r.numbers("Groups"),
	}
	copy(p.UIDs[:], r.four("Uid"))
	copy(p.GIDs[:], r.four("Gid"))
	return p, r.err
}

// statusReader keeps the first error, so that the fields can be read in one expression.
type statusReader struct {
	fields map[string]string
	err    error
}

func (r *statusReader) fail(field string, why error) {
	if r.err == nil {
		r.err = fmt.Errorf("field %s: %w", field, why)
	}
}

func (r *statusReader) text(field string) string {
	v, ok := r.fields[field]
	if !ok {
		r.fail(field, fmt.Errorf("missing"))
	}
	return v
}

func (r *statusReader) number(field string, base int) uint64 {
	n, err := strconv.ParseUint(r.text(field), base, 64)
	if err != nil {
		r.fail(field, err)
	}
	return n
}

func (r *statusReader) numbers(field string) []uint64 {
	var out []uint64
	for _, s := range strings.Fields(r.text(field)) {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			r.fail(field, err)
		}
		out = append(out, n)
	}
	return out
}

func (r *statusReader) four(field string) []uint64 {
	n := r.numbers(field)
	if len(n) != 4 {
		r.fail(field, fmt.Errorf("%d ids, not 4", len(n)))
	}
	return n
}

func (r *statusReader) kib(field string) uint64 {
	v, ok := r.fields[field]
	if !ok {
		return 0
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(v, " kB"), 10, 64)
	if err != nil {
		r.fail(field, err)
	}
	return n
}

// parseLimits reads /proc/PID/limits: a name of 25 columns, the soft and the hard limit, the unit.
func parseLimits(b []byte) (map[string]Limit, error) {
	const nameWidth = 25
	out := map[string]Limit{}
	for line := range strings.Lines(string(b)) {
		if len(line) < nameWidth {
			return nil, fmt.Errorf("line %q is too short", line)
		}
		name, values := strings.TrimSpace(line[:nameWidth]), strings.Fields(line[nameWidth:])
		if name == "Limit" {
			continue
		}
		if len(values) < 2 {
			return nil, fmt.Errorf("line %q has fewer than two limits", line)
		}
		soft, err := parseLimit(values[0])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		hard, err := parseLimit(values[1])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out[name] = Limit{soft, hard}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no limits")
	}
	return out, nil
}

func parseLimit(s string) (uint64, error) {
	if s == "unlimited" {
		return NoLimit, nil
	}
	return strconv.ParseUint(s, 10, 64)
}
