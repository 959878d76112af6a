// Package hosttest gives tests a host in memory: files with owners, modes and symlinks, and the
// facts of a running system, each set by the test. A fact that the test did not set is a loud
// error and never an empty answer, so that no check passes because nobody thought of it.
package hosttest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/strongroom/strongroom/internal/host"
)

// ErrNotSet is the answer to a question about a fact that the test did not set.
var ErrNotSet = errors.New("not set by the test")

// Host is a host in memory. Its methods that set something return the Host, so that a fixture is
// one expression. It is safe for concurrent use.
type Host struct {
	mu        sync.RWMutex
	files     map[string]entry
	fileError map[string]error
	factError map[string]error

	swaps     *[]host.Swap
	mounts    *[]host.Mount
	arguments *[]string
	modules   *[]string
	listeners *[]host.Listener
	appArmor  *[]host.AppArmorProfile
	processes map[int]host.Process
	unit      map[string]host.Unit
	units     *[]host.UnitStatus
	ruleset   *host.Ruleset
	tls       map[string]host.TLSListener
	audit     *[]host.AuditDevice
	tokens    *host.Tokens
	auth      *[]host.AuthMethod
	autopilot *host.Autopilot

	summaries      *[]host.ProcessSummary
	executables    map[int]host.Executable
	programDigests map[int]string
	openFiles      map[string][]host.OpenFile
	clock          *host.Clock
	virtualization *string
}

type entry struct {
	info       host.FileInfo
	content    []byte
	capability string
}

var _ host.Host = (*Host)(nil)

// New gives a host that has a root directory and nothing else.
func New() *Host {
	h := &Host{
		tls:            map[string]host.TLSListener{},
		files:          map[string]entry{},
		fileError:      map[string]error{},
		factError:      map[string]error{},
		processes:      map[int]host.Process{},
		executables:    map[int]host.Executable{},
		programDigests: map[int]string{},
		openFiles:      map[string][]host.OpenFile{},
		unit:           map[string]host.Unit{},
	}
	h.files["/"] = directory(0o755)
	return h
}

func directory(mode fs.FileMode) entry {
	return entry{info: host.FileInfo{Mode: fs.ModeDir | mode}}
}

// File puts a regular file, root-owned and 0644. Directories above it are made as needed.
func (h *Host) File(p, content string) *Host {
	return h.put(p, entry{info: host.FileInfo{Mode: 0o644, Size: int64(len(content))}, content: []byte(content)})
}

// Directory puts a root-owned directory.
func (h *Host) Directory(p string, mode fs.FileMode) *Host {
	return h.put(p, directory(mode&^fs.ModeType))
}

// Symlink puts a symbolic link.
func (h *Host) Symlink(p, target string) *Host {
	return h.put(p, entry{info: host.FileInfo{Mode: fs.ModeSymlink | 0o777, Size: int64(len(target)), Target: target}})
}

// Special puts a file that is neither regular nor directory nor link: a device, a FIFO, a socket.
func (h *Host) Special(p string, mode fs.FileMode) *Host {
	return h.put(p, entry{info: host.FileInfo{Mode: mode}})
}

// Chmod changes the permission bits (with setuid, setgid and sticky) of something that is there.
func (h *Host) Chmod(p string, mode fs.FileMode) *Host {
	return h.change(p, func(e *entry) { e.info.Mode = e.info.Mode.Type() | mode&^fs.ModeType })
}

// SetFileCapability gives a file that is there the attribute security.capability, in hex.
func (h *Host) SetFileCapability(p, capability string) *Host {
	return h.change(p, func(e *entry) { e.capability = capability })
}

// Chown changes the owner of something that is there.
func (h *Host) Chown(p string, uid, gid uint32) *Host {
	return h.change(p, func(e *entry) { e.info.UID, e.info.GID = uid, gid })
}

// Remove takes a path away, and everything below it.
func (h *Host) Remove(p string) *Host {
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.files, func(have string, _ entry) bool {
		return have == p || strings.HasPrefix(have, p+"/")
	})
	return h
}

// FailFile makes every question about the path answer err.
func (h *Host) FailFile(p string, err error) *Host {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fileError[p] = err
	return h
}

// put panics on a mistake of the test itself, as does change.
func (h *Host) put(p string, e entry) *Host {
	mustBeClean(p)
	h.mu.Lock()
	defer h.mu.Unlock()
	for dir := path.Dir(p); ; dir = path.Dir(dir) {
		if have, ok := h.files[dir]; !ok {
			h.files[dir] = directory(0o755)
		} else if !have.info.Mode.IsDir() {
			panic(fmt.Sprintf("hosttest: %s is not a directory, so %s cannot be", dir, p))
		}
		if dir == "/" {
			break
		}
	}
	h.files[p] = e
	return h
}

func (h *Host) change(p string, f func(*entry)) *Host {
	mustBeClean(p)
	h.mu.Lock()
	defer h.mu.Unlock()
	e, ok := h.files[p]
	if !ok {
		panic("hosttest: " + p + " was not put")
	}
	f(&e)
	h.files[p] = e
	return h
}

func mustBeClean(p string) {
	if !path.IsAbs(p) || path.Clean(p) != p {
		panic(fmt.Sprintf("hosttest: path %q is not absolute and clean", p))
	}
}

// ReadFile implements host.Host.
func (h *Host) ReadFile(p string) ([]byte, error) {
	e, err := h.lookup("read", p, true)
	switch {
	case err != nil:
		return nil, err
	case e.info.Mode.IsDir():
		return nil, &fs.PathError{Op: "read", Path: p, Err: syscall.EISDIR}
	case !e.info.Mode.IsRegular():
		return nil, &fs.PathError{Op: "read", Path: p, Err: errors.New("not a regular file")}
	}
	return slices.Clone(e.content), nil
}

// Lstat implements host.Host.
func (h *Host) Lstat(p string) (host.FileInfo, error) {
	e, err := h.lookup("lstat", p, false)
	return e.info, err
}

// Stat implements host.Host.
func (h *Host) Stat(p string) (host.FileInfo, error) {
	e, err := h.lookup("stat", p, true)
	return e.info, err
}

// FileCapability implements host.Host.
func (h *Host) FileCapability(p string) (string, error) {
	e, err := h.lookup("getxattr", p, false)
	return e.capability, err
}

// ReadDir implements host.Host.
func (h *Host) ReadDir(p string) ([]string, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	dir, e, err := h.resolve("open", p, true)
	if err != nil {
		return nil, err
	}
	if !e.info.Mode.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: p, Err: syscall.ENOTDIR}
	}
	var names []string
	for have := range h.files {
		if have != "/" && path.Dir(have) == dir {
			names = append(names, path.Base(have))
		}
	}
	slices.Sort(names)
	return names, nil
}

func (h *Host) lookup(op, p string, follow bool) (entry, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	_, e, err := h.resolve(op, p, follow)
	return e, err
}

// resolve walks a path as the kernel does in a chroot.
func (h *Host) resolve(op, p string, follow bool) (string, entry, error) {
	fail := func(err error) (string, entry, error) {
		return "", entry{}, &fs.PathError{Op: op, Path: p, Err: err}
	}
	if !path.IsAbs(p) {
		return fail(fs.ErrInvalid)
	}
	if err, ok := h.fileError[path.Clean(p)]; ok {
		return fail(err)
	}
	const maxLinks = 40 // MAXSYMLINKS of the kernel
	at, rest, links := "/", strings.Split(p, "/"), 0
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		if name == "" || name == "." {
			continue
		}
		if !h.files[at].info.Mode.IsDir() {
			return fail(syscall.ENOTDIR)
		}
		if name == ".." {
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, name)
		if err, ok := h.fileError[next]; ok {
			return fail(err)
		}
		e, ok := h.files[next]
		if !ok {
			return fail(fs.ErrNotExist)
		}
		if e.info.Mode&fs.ModeSymlink == 0 || (!follow && last(rest)) {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return fail(syscall.ELOOP)
		}
		if path.IsAbs(e.info.Target) {
			at = "/"
		}
		rest = append(strings.Split(e.info.Target, "/"), rest...)
	}
	return at, h.files[at], nil
}

func last(rest []string) bool {
	return !slices.ContainsFunc(rest, func(s string) bool { return s != "" })
}

// FailFact makes a question about running state ("Swaps", "Unit", …) answer err.
func (h *Host) FailFact(method string, err error) *Host {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.factError[method] = err
	return h
}

// SetSwaps sets the fact.
func (h *Host) SetSwaps(v ...host.Swap) *Host { return set(h, &h.swaps, v) }

// SetMounts sets the fact.
func (h *Host) SetMounts(v ...host.Mount) *Host { return set(h, &h.mounts, v) }

// SetKernelArguments sets the fact.
func (h *Host) SetKernelArguments(v ...string) *Host { return set(h, &h.arguments, v) }

// SetModules sets the fact.
func (h *Host) SetModules(v ...string) *Host {
	return set(h, &h.modules, slices.Sorted(slices.Values(v)))
}

// SetListeners sets the fact.
func (h *Host) SetListeners(v ...host.Listener) *Host { return set(h, &h.listeners, v) }

// SetAppArmor sets the fact.
func (h *Host) SetAppArmor(v ...host.AppArmorProfile) *Host { return set(h, &h.appArmor, v) }

// SetUnits sets the answer to Units.
func (h *Host) SetUnits(v ...host.UnitStatus) *Host { return set(h, &h.units, v) }

// SetRuleset sets the fact.
func (h *Host) SetRuleset(v host.Ruleset) *Host { return set(h, &h.ruleset, v) }

func set[T any](h *Host, fact **T, v T) *Host {
	h.mu.Lock()
	defer h.mu.Unlock()
	*fact = &v
	return h
}

// SetProcess sets a process by its PID. Other processes stay unset.
func (h *Host) SetProcess(p host.Process) *Host {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.processes[p.PID] = p
	return h
}

// SetProcesses sets the answer to Processes.
func (h *Host) SetProcesses(v ...host.ProcessSummary) *Host { return set(h, &h.summaries, v) }

// SetExecutable sets the program of a process and its digest. Those of other processes stay unset.
func (h *Host) SetExecutable(pid int, e host.Executable, digest string) *Host {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.executables[pid], h.programDigests[pid] = e, digest
	return h
}

// SetOpenFiles sets who holds files below a directory open. Other directories stay unset.
func (h *Host) SetOpenFiles(dir string, files ...host.OpenFile) *Host {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.openFiles[dir] = files
	return h
}

// SetClock sets the fact.
func (h *Host) SetClock(c host.Clock) *Host { return set(h, &h.clock, c) }

// SetVirtualization sets the fact; "" is bare metal.
func (h *Host) SetVirtualization(v string) *Host { return set(h, &h.virtualization, v) }

// SetUnit sets a unit by its name. LoadState, ActiveState and UnitFileState are put among the
// properties too, where systemd has them. Other units stay unset.
func (h *Host) SetUnit(u host.Unit) *Host {
	u.LoadState = cmp.Or(u.LoadState, "loaded")
	properties := maps.Clone(u.Properties)
	if properties == nil {
		properties = map[string]string{}
	}
	properties["LoadState"], properties["ActiveState"] = u.LoadState, u.ActiveState
	properties["UnitFileState"] = u.UnitFileState
	u.Properties = properties
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unit[u.Name] = u
	return h
}

// SetNoUnit says that systemd knows no unit of this name.
func (h *Host) SetNoUnit(name string) *Host {
	return h.SetUnit(host.Unit{Name: name, LoadState: "not-found", ActiveState: "inactive"})
}

// Swaps implements host.Host.
func (h *Host) Swaps() ([]host.Swap, error) { return get(h, "Swaps", &h.swaps) }

// Mounts implements host.Host.
func (h *Host) Mounts() ([]host.Mount, error) { return get(h, "Mounts", &h.mounts) }

// KernelArguments implements host.Host.
func (h *Host) KernelArguments() ([]string, error) { return get(h, "KernelArguments", &h.arguments) }

// AppArmor implements host.Host.
func (h *Host) AppArmor() ([]host.AppArmorProfile, error) { return get(h, "AppArmor", &h.appArmor) }

// Modules implements host.Host.
func (h *Host) Modules() ([]string, error) { return get(h, "Modules", &h.modules) }

// Listeners implements host.Host.
func (h *Host) Listeners() ([]host.Listener, error) { return get(h, "Listeners", &h.listeners) }

// UnitStatus implements host.Host. It is the state of the unit that SetUnit put.
func (h *Host) UnitStatus(_ context.Context, name string) (host.UnitStatus, error) {
	u, err := getKeyed(h, "UnitStatus", h.unit, name)
	return host.UnitStatus{Name: name, LoadState: u.LoadState, ActiveState: u.ActiveState}, err
}

// Units implements host.Host.
func (h *Host) Units(context.Context) ([]host.UnitStatus, error) { return get(h, "Units", &h.units) }

// Ruleset implements host.Host.
func (h *Host) Ruleset(context.Context) (host.Ruleset, error) { return get(h, "Ruleset", &h.ruleset) }

// Process implements host.Host.
func (h *Host) Process(pid int) (host.Process, error) {
	return getKeyed(h, "Process", h.processes, pid)
}

// Processes implements host.Host.
func (h *Host) Processes() ([]host.ProcessSummary, error) { return get(h, "Processes", &h.summaries) }

// Executable implements host.Host.
func (h *Host) Executable(pid int) (host.Executable, error) {
	return getKeyed(h, "Executable", h.executables, pid)
}

// ExecutableDigest implements host.Host.
func (h *Host) ExecutableDigest(pid int) (string, error) {
	return getKeyed(h, "ExecutableDigest", h.programDigests, pid)
}

// OpenFiles implements host.Host.
func (h *Host) OpenFiles(dir string) ([]host.OpenFile, error) {
	return getKeyed(h, "OpenFiles", h.openFiles, dir)
}

// Clock implements host.Host.
func (h *Host) Clock() (host.Clock, error) { return get(h, "Clock", &h.clock) }

// Virtualization implements host.Host.
func (h *Host) Virtualization(context.Context) (string, error) {
	return get(h, "Virtualization", &h.virtualization)
}

// Digest implements host.Host. It is that of the content that File put.
func (h *Host) Digest(p string) (string, error) {
	b, err := h.ReadFile(p)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// Secrets implements host.Host. It looks through the content that File put.
func (h *Host) Secrets(p string) (host.FileSecrets, error) {
	b, err := h.ReadFile(p)
	if err != nil {
		return host.FileSecrets{}, err
	}
	return host.FindSecrets(bytes.NewReader(b))
}

// Unit implements host.Host.
func (h *Host) Unit(_ context.Context, name string) (host.Unit, error) {
	return getKeyed(h, "Unit", h.unit, name)
}

func get[T any](h *Host, method string, fact **T) (T, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	var zero T
	if err, ok := h.factError[method]; ok {
		return zero, err
	}
	if *fact == nil {
		return zero, fmt.Errorf("hosttest: %s: %w", method, ErrNotSet)
	}
	return **fact, nil
}

func getKeyed[K comparable, T any](h *Host, method string, facts map[K]T, key K) (T, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	var zero T
	if err, ok := h.factError[method]; ok {
		return zero, err
	}
	v, ok := facts[key]
	if !ok {
		return zero, fmt.Errorf("hosttest: %s(%v): %w", method, key, ErrNotSet)
	}
	return v, nil
}
