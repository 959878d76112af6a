package host

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
)

// LiveOptions says where this machine is.
type LiveOptions struct {
	// Root is the directory that holds the host's files, /proc and systemd's socket; "/" when
	// empty. Tests point it at a tree of fixtures. Netlink has no root: it always speaks to the
	// kernel that runs this process.
	Root string
	// API asks the server with the agent's token; nil when there is none.
	API *API
	// Memory keeps what the server was asked from one run to the next; nil: each run asks.
	Memory *Memory
	// Digests are those of earlier runs; nil remembers none.
	Digests *Digests
	// Read is told the path of each file that is read and of each directory that is listed, there or not. It is called from
	// several goroutines. nil: nobody is told.
	Read func(path string)
}

// LiveHost is this machine. It is a snapshot for one run of the checks: facts about the whole
// host (swaps, mounts, modules, sockets, units, ruleset, processes) are read once, on first use, so that all
// checks of one run judge the same host. Files and processes are read each time. Use a new
// LiveHost for the next run.
type LiveHost struct {
	root
	dir     string
	systemd systemd
	api     *API
	memory  *Memory

	swaps     memo[[]Swap]
	mounts    memo[[]Mount]
	arguments memo[[]string]
	modules   memo[[]string]
	listeners memo[[]Listener]
	appArmor  memo[[]AppArmorProfile]
	units     memo[[]UnitStatus]
	ruleset   memo[Ruleset]
	processes memo[[]ProcessSummary]

	virtualization memo[string]
	digests        *Digests

	mu     sync.Mutex
	unit   map[string]*memo[Unit]
	status map[string]*memo[UnitStatus]
	tls    map[string]*memo[TLSListener]
	// answers of the API, by method
	answers  map[string]*memo[any]
	unsealed memo[struct{}] // whether the API can be asked
}

var _ Host = (*LiveHost)(nil)

// Live opens this machine. Nothing but the root directory is touched before it is asked for.
func Live(o LiveOptions) (*LiveHost, error) {
	dir := o.Root
	if dir == "" {
		dir = "/"
	}
	r, err := openRoot(dir)
	if err != nil {
		return nil, err
	}
	r.read = o.Read
	if o.Digests == nil {
		o.Digests = &Digests{}
	}
	return &LiveHost{
		digests: o.Digests,
		root:    r,
		dir:     dir,
		systemd: systemd{socket: filepath.Join(dir, "run/systemd/private"), bus: dir == "/"},
		unit:    map[string]*memo[Unit]{},
		status:  map[string]*memo[UnitStatus]{},
		tls:     map[string]*memo[TLSListener]{},
		answers: map[string]*memo[any]{},
		api:     o.API,
		memory:  o.Memory,
	}, nil
}

// Close closes the connection to systemd, if one was made, and the root.
func (l *LiveHost) Close() error {
	l.systemd.close()
	return l.close()
}

// Swaps implements Host.
func (l *LiveHost) Swaps() ([]Swap, error) {
	v, err := l.swaps.get(l.readSwaps)
	return slices.Clone(v), err
}

// Mounts implements Host.
func (l *LiveHost) Mounts() ([]Mount, error) {
	v, err := l.mounts.get(l.readMounts)
	return slices.Clone(v), err
}

// KernelArguments implements Host.
func (l *LiveHost) KernelArguments() ([]string, error) {
	v, err := l.arguments.get(l.readKernelArguments)
	return slices.Clone(v), err
}

// Modules implements Host.
func (l *LiveHost) Modules() ([]string, error) {
	v, err := l.modules.get(l.readModules)
	return slices.Clone(v), err
}

// Listeners implements Host.
func (l *LiveHost) Listeners() ([]Listener, error) {
	v, err := l.listeners.get(l.readListeners)
	return slices.Clone(v), err
}

// Units implements Host.
func (l *LiveHost) Units(ctx context.Context) ([]UnitStatus, error) {
	v, err := l.units.get(func() ([]UnitStatus, error) { return l.systemd.units(ctx) })
	return slices.Clone(v), err
}

// Unit implements Host. The unit's properties are shared by all callers and are not to be changed.
func (l *LiveHost) Unit(ctx context.Context, name string) (Unit, error) {
	return keyed(l, l.unit, name).get(func() (Unit, error) { return l.systemd.unit(ctx, name) })
}

// UnitStatus implements Host.
func (l *LiveHost) UnitStatus(ctx context.Context, name string) (UnitStatus, error) {
	return keyed(l, l.status, name).get(func() (UnitStatus, error) { return l.systemd.unitStatus(ctx, name) })
}

func keyed[T any](l *LiveHost, memos map[string]*memo[T], key string) *memo[T] {
	l.mu.Lock()
	defer l.mu.Unlock()
	m, ok := memos[key]
	if !ok {
		m = &memo[T]{}
		memos[key] = m
	}
	return m
}

// Ruleset implements Host. The ruleset is shared by all callers and is not to be changed.
func (l *LiveHost) Ruleset(ctx context.Context) (Ruleset, error) {
	return l.ruleset.get(func() (Ruleset, error) { return readRuleset(ctx) })
}
