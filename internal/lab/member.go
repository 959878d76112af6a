package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/lab/network"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/report"
)

// member is one node of a cluster: the machine comes and goes, name, address and disk stay.
type member struct {
	cluster *Cluster
	name    string
	lease   *network.Lease
	dir     string

	mu      sync.Mutex
	uuid    string
	disk    *Disk
	node    *Node // nil: down
	report  *report.Document
	verdict chan struct{} // closed when there is one since the last start
	token   node.Secret   // of the transit seal
}

func (m *member) running() *Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.node == nil {
		return nil
	}
	select {
	case <-m.node.Done():
		return nil // it has ended by itself
	default:
		return m.node
	}
}

// decided is closed when the node has reached a verdict since it was started first.
func (m *member) decided() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.decision()
}

func (m *member) decision() chan struct{} {
	if m.verdict == nil {
		m.verdict = make(chan struct{})
	}
	return m.verdict
}

func (m *member) passed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.report != nil && m.report.Verdict == check.Pass
}

// DownError means that a node is not running, or is.
type DownError struct {
	Name string
	Runs bool
}

func (e *DownError) Error() string {
	if e.Runs {
		return e.Name + " is running already"
	}
	return e.Name + " is not running"
}

// start boots the machine on its disk, which is made the first time.
func (m *member) start(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.cluster
	if m.node != nil {
		select {
		case <-m.node.Done():
			m.node.Close()
			m.node = nil
		default:
			return &DownError{m.name, true}
		}
	}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return fmt.Errorf("cannot create a directory for %s: %w", m.name, err)
	}
	if m.disk == nil {
		image := c.disk
		if other := c.options.Disks[m.name]; other != "" {
			image = other
		}
		newDisk := func() (*Disk, error) { return NewDisk(ctx, m.dir, image) }
		if _, netboot := c.options.Netboot[m.name]; netboot {
			newDisk = func() (*Disk, error) { return NewEmptyDisk(ctx, m.dir, "data", 4<<30) }
		}
		disk, err := newDisk()
		if err != nil {
			return err
		}
		m.disk = disk
	}
	given, err := m.credentials(ctx)
	if err != nil {
		return err
	}
	disk, extra := m.disk, []*Disk(nil)
	if boot, netboot := c.options.Netboot[m.name]; netboot {
		c.network.SetBoot(m.lease, boot)
		disk, extra = nil, []*Disk{m.disk}
	}
	machine, err := Start(c.ctx, Config{
		Name: m.name, Network: c.network, Disk: disk, Extra: extra, UUID: m.uuid, Credentials: given,
		MemoryMiB: c.options.MemoryMiB, CPUs: c.options.CPUs, Services: c.services,
		Dir: filepath.Join(m.dir, "machine"), ConsoleLog: m.consoleLog(), Log: c.options.Log,
	})
	if err != nil {
		return err
	}
	m.node, m.report = &Node{machine, c.authority.ClientTLS()}, nil
	m.decision()
	return nil
}

func (m *member) consoleLog() string { return filepath.Join(m.dir, "console.log") }

// credentials are what the node gets at this boot.
func (m *member) credentials(ctx context.Context) ([]Credential, error) {
	c := m.cluster
	given, err := c.authority.Credentials(identityOf(m.lease, c.services, c.blocks()...))
	if err != nil {
		return nil, err
	}
	if c.transit != nil {
		if len(m.token.Reveal()) == 0 {
			if m.token, err = c.transit.token(ctx); err != nil {
				return nil, err
			}
		}
		given = append(given, Credential{sealToken, m.token})
	}
	if c.options.Prepare != nil {
		return c.options.Prepare(m.name, given)
	}
	return given, nil
}

// judge waits for the verdict of a node that was started.
func (m *member) judge(ctx context.Context) error {
	n := m.running()
	if n == nil {
		return &DownError{Name: m.name}
	}
	waiting, cancel := context.WithTimeout(ctx, m.cluster.options.Timeout)
	defer cancel()
	stop := n.progress(m.cluster.options.Log.With("node", m.name), "booting")
	document, body, err := n.AwaitVerdict(waiting)
	stop()
	if err != nil {
		return err
	}
	m.cluster.options.Log.Info("verdict", "node", m.name, "verdict", string(document.Verdict), "stage", document.Stage.String(), "seconds", int(n.Uptime().Seconds()))
	if err := keep(filepath.Join(m.dir, reportName), body); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.report = document
	select {
	case <-m.decision():
	default:
		close(m.verdict)
	}
	return nil
}

// end takes the machine down in some way.
func (m *member) end(how func(*Node) error) error {
	m.mu.Lock()
	n := m.node
	m.mu.Unlock()
	if n == nil {
		return &DownError{Name: m.name}
	}
	if err := how(n); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.node == n {
		m.node = nil
	}
	return nil
}

func (m *member) setCut(cut bool) error {
	n := m.running()
	if n == nil {
		return &DownError{Name: m.name}
	}
	if cut {
		n.Cut()
	} else {
		n.Heal()
	}
	return nil
}

// renew makes the member another machine: nothing of the old one is left but name and address.
func (m *member) renew() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.disk != nil {
		os.Remove(m.disk.Path)
	}
	m.disk, m.uuid, m.report = nil, NewUUID(), nil
}

var errNoCluster = errors.New("the cluster is not initialised")

// pace is how often the lab looks at its cluster.
const pace = time.Second
