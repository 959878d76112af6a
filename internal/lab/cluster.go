package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/lab/network"
	"github.com/strongroom/strongroom/internal/node"
)

// ClusterOptions say what cluster to make.
type ClusterOptions struct {
	Image       string // output directory of a bake
	Nodes       int    // default 3
	Seal        string // "shamir" (the default; the lab unseals) or "transit"
	VaultBinary string // for the transit seal: the program of the Vault outside
	Dir         string // for disks, consoles and what the seal needs; the caller removes it
	MemoryMiB   int    // of each node; default 1536
	CPUs        int    // of each node; default 2; an emulated machine has one
	// Boots is how many nodes boot at once; default all with KVM, and one for each processor of the host without.
	Boots   int
	Timeout time.Duration // of a boot to its verdict, and of a join; default 15 minutes
	Blocks  []string      // further blocks of every node's node.hcl
	// PerformanceMultiplier is that of Raft, 1 to 10; default 5 where nodes are emulated, and what a node takes by itself elsewhere.
	PerformanceMultiplier int
	// Prepare may change what a node is given: for tests of what goes wrong.
	Prepare func(name string, given []Credential) ([]Credential, error) `json:"-"`
	// Disks names other images for some nodes, by name: any that NewDisk takes.
	Disks map[string]string
	// Netboot says what nodes start over the network instead, by name; each has an empty disk with the serial number "data".
	Netboot map[string]network.Boot `json:"-"`
	Log     *slog.Logger            `json:"-"`
}

// Seals that a cluster of the lab can have.
const (
	SealShamir  = "shamir"
	SealTransit = "transit"
)

// Cluster is nodes of one image on one network.
type Cluster struct {
	options   ClusterOptions
	manifest  *image.Result
	disk      string
	services  Services
	authority *Authority
	network   *network.Network
	transit   *transit // nil: shamir
	boots     chan struct{}
	ctx       context.Context // the life of the machines
	cancel    context.CancelFunc
	tending   sync.WaitGroup

	members []*member // in the order of their numbers

	mu   sync.Mutex
	keys Keys
}

// Keys are the secrets of a cluster of the lab, made when its first node was initialised.
type Keys struct {
	RootToken node.Secret
	UnsealKey node.Secret // base64; with a shamir seal
}

// made tells whether there are any.
func (k Keys) made() bool { return len(k.RootToken.Reveal()) > 0 }

// NewCluster prepares a cluster: nothing boots yet. Its machines live until Close or the end of ctx.
func NewCluster(ctx context.Context, o ClusterOptions) (_ *Cluster, err error) {
	o.Nodes = cmp.Or(o.Nodes, 3)
	o.Seal = cmp.Or(o.Seal, SealShamir)
	o.MemoryMiB = cmp.Or(o.MemoryMiB, 1536)
	o.Timeout = cmp.Or(o.Timeout, 15*time.Minute)
	if o.Boots == 0 {
		o.Boots = runtime.NumCPU()
		if kvmUsable() {
			o.Boots = o.Nodes
		}
	}
	c := &Cluster{options: o, boots: make(chan struct{}, o.Boots)}
	c.ctx, c.cancel = context.WithCancel(ctx)
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	if c.manifest, err = readManifest(filepath.Join(o.Image, image.ManifestName)); err != nil {
		return nil, err
	}
	if c.disk, err = diskOf(o.Image); err != nil {
		return nil, err
	}
	if c.services, err = ServicesOf(c.manifest.Parameters); err != nil {
		return nil, err
	}
	if c.authority, err = NewAuthority(); err != nil {
		return nil, err
	}
	if c.network, err = network.New(o.Log); err != nil {
		return nil, err
	}
	if o.Seal == SealTransit {
		if c.transit, err = startTransit(ctx, filepath.Join(o.Dir, "transit"), o.VaultBinary, c.authority); err != nil {
			return nil, err
		}
		if err := c.network.Expose(transitPort, c.transit.address); err != nil {
			return nil, err
		}
	}
	for i := range o.Nodes {
		name := fmt.Sprintf("node-%d", i+1)
		lease, err := c.network.Lease(name, c.services.API)
		if err != nil {
			return nil, err
		}
		c.members = append(c.members, &member{cluster: c, name: name, lease: lease, uuid: NewUUID(), dir: filepath.Join(o.Dir, name)})
	}
	return c, nil
}

// Network is what the nodes are on.
func (c *Cluster) Network() *network.Network { return c.network }

// CA is the certificate of the authority whom the nodes and their clients trust, PEM.
func (c *Cluster) CA() []byte { return c.authority.CA() }

// Services are the ports of the nodes.
func (c *Cluster) Services() Services { return c.services }

// Names are those of the nodes.
func (c *Cluster) Names() []string {
	var names []string
	for _, m := range c.members {
		names = append(names, m.name)
	}
	return names
}

// UnknownNodeError is a node that the lab does not have.
type UnknownNodeError struct {
	Name  string
	Known []string
}

func (e *UnknownNodeError) Error() string {
	return fmt.Sprintf("the lab has no node %q; it has %s", e.Name, strings.Join(e.Known, ", "))
}

func (c *Cluster) member(name string) (*member, error) {
	for _, m := range c.members {
		if m.name == name {
			return m, nil
		}
	}
	return nil, &UnknownNodeError{name, c.Names()}
}

// Node is the running node of a name; nil when it is down.
func (c *Cluster) Node(name string) *Node {
	if m, err := c.member(name); err == nil {
		return m.running()
	}
	return nil
}

// blocks are the parts of node.hcl that make a node a member of this cluster.
func (c *Cluster) blocks() []string {
	join := "join {\n"
	for _, m := range c.members {
		join += fmt.Sprintf("  leader {\n    address = \"https://%s:%d\"\n  }\n", m.lease.Host(), c.services.API)
	}
	blocks := []string{join + "}\n", "auth \"cert\" {\n  mount = \"cert\"\n  role  = \"" + agentRole + "\"\n}\n"}
	if c.transit != nil {
		blocks = append(blocks, c.transit.block())
	}
	multiplier := c.options.PerformanceMultiplier
	if multiplier == 0 && !kvmUsable() {
		multiplier = 5 // an emulated leader is slow, and not dead: the servers' own default for the smallest machines
	}
	if multiplier != 0 {
		blocks = append(blocks, fmt.Sprintf("raft {\n  performance_multiplier = \"%d\"\n}\n", multiplier))
	}
	return append(blocks, c.options.Blocks...)
}

// Up boots every node, initialises the first whose verdict is pass, and waits until every other one that passes has
// joined. Nodes whose verdict is not pass stay as they are: what they say is in the status.
func (c *Cluster) Up(ctx context.Context) error {
	var group sync.WaitGroup
	failures := make([]error, len(c.members))
	for i, m := range c.members {
		group.Add(1)
		go func() {
			defer group.Done()
			if err := c.Start(ctx, m.name); err != nil {
				failures[i] = fmt.Errorf("%s: %w", m.name, err)
			}
		}()
	}
	// The first node is initialised as soon as it has passed; the others may still boot.
	initialised := make(chan error, 1)
	go func() { initialised <- c.initialiseFirst(ctx) }()
	group.Wait()
	if err := errors.Join(failures...); err != nil {
		return err
	}
	if err := <-initialised; err != nil {
		return err
	}
	return c.AwaitMembers(ctx, c.passing()...)
}

// passing are the nodes whose verdict is pass.
func (c *Cluster) passing() []string {
	var names []string
	for _, m := range c.members {
		if m.passed() {
			names = append(names, m.name)
		}
	}
	return names
}

// initialiseFirst waits for a node that passes and makes the cluster on it.
func (c *Cluster) initialiseFirst(ctx context.Context) error {
	for _, m := range c.members {
		select {
		case <-m.decided():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if m.passed() {
			return c.initialise(ctx, m)
		}
	}
	return errors.New("no node's verdict is pass, and so there is no cluster\nhint: `imagebuild prove` shows the report of one node")
}

// Start boots a node, for the first time or again on the disk that it left, and waits for its verdict. A verdict that is
// not pass is no error.
func (c *Cluster) Start(ctx context.Context, name string) error {
	m, err := c.member(name)
	if err != nil {
		return err
	}
	select {
	case c.boots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-c.boots }()
	if err := m.start(ctx); err != nil {
		return err
	}
	return m.judge(ctx)
}

// Kill ends a node as a power cut does. Its disk stays.
func (c *Cluster) Kill(name string) error {
	m, err := c.member(name)
	if err != nil {
		return err
	}
	return m.end((*Node).Kill)
}

// PowerOff presses a node's power button and waits until it has shut itself down.
func (c *Cluster) PowerOff(ctx context.Context, name string) error {
	m, err := c.member(name)
	if err != nil {
		return err
	}
	return m.end(func(n *Node) error {
		stopping, cancel := context.WithTimeout(ctx, powerOffTimeout)
		defer cancel()
		if _, err := n.PowerOff(stopping); err != nil {
			return err
		}
		return n.Close()
	})
}

// Cut takes a node off the network: it runs, and hears and reaches nobody.
func (c *Cluster) Cut(name string) error { return c.setCut(name, true) }

// Heal brings a node back onto the network.
func (c *Cluster) Heal(name string) error { return c.setCut(name, false) }

func (c *Cluster) setCut(name string, cut bool) error {
	m, err := c.member(name)
	if err != nil {
		return err
	}
	return m.setCut(cut)
}

// Replace ends a node, takes it out of the cluster, and boots a new one in its place: an empty disk, another firmware UUID,
// and so another node id.
func (c *Cluster) Replace(ctx context.Context, name string) error {
	m, err := c.member(name)
	if err != nil {
		return err
	}
	if m.running() != nil {
		if err := m.end((*Node).Kill); err != nil {
			return err
		}
	}
	if err := c.removePeer(ctx, m); err != nil {
		return err
	}
	m.renew()
	return c.Start(ctx, name)
}

// Close ends every machine and the network. Disks and consoles stay in the directory.
func (c *Cluster) Close() error {
	c.cancel()
	var failures []error
	for _, m := range c.members {
		var down *DownError
		if err := m.end((*Node).Kill); err != nil && !errors.As(err, &down) {
			failures = append(failures, err)
		}
	}
	c.tending.Wait()
	if c.transit != nil {
		c.transit.Close()
	}
	if c.network != nil {
		c.network.Close()
	}
	return errors.Join(failures...)
}
