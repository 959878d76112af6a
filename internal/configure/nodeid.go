package configure

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/strongroom/strongroom/internal/node"
)

// NodeIDPath is where configure keeps the node's identity, and MachinePath where it keeps the names of the machine that
// the data partition was made on.
const (
	NodeIDPath  = "/var/lib/hostcheck/node-id"
	MachinePath = "/var/lib/hostcheck/machine"
)

// nodeIDText is a UUID, or the name of an instance with eight digits of chance behind it.
var nodeIDText = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^([0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}|[A-Za-z0-9][A-Za-z0-9-]{2,62}-[0-9a-f]{8})\n$`)
})

// state is the directory of the data partition in which a node remembers who it is.
type state struct {
	id, machine string // paths
	random      io.Reader
}

func (o Options) state() state {
	return state{o.path(NodeIDPath), o.path(MachinePath), o.Random}
}

// nodeID gives the node's Raft identity, and makes one on the first boot.
//
// It lives on the data partition, because it must be as old as the Raft data: Vault removes a node for good when an id comes
// back that was removed before, and an id over other data than its own would be a second member that claims the same
// history. A damaged one is an error and never made anew. For the same reason the name of the instance alone
// is not enough: an instance that gets an empty disk keeps its name. docs/decisions/node-id.md has the whole argument.
//
// movedFrom is a name of the machine that the partition may have been made on, by the operator's own word.
func (s state) nodeID(machine node.Machine, movedFrom string) (string, error) {
	id, err := s.read()
	if err == nil {
		return id, s.checkMachine(id, machine, movedFrom)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if id, err = s.make(machine); err != nil {
		return "", fmt.Errorf("cannot keep the node id: %w", err)
	}
	return id, nil
}

func (s state) make(machine node.Machine) (string, error) {
	dir := filepath.Dir(s.id)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	id, err := newNodeID(s.random, machine)
	if err != nil {
		return "", err
	}
	readable := func(f *os.File) error { return f.Chmod(0o644) }
	// The machine first: an id that is there has its machine beside it.
	if names := machine.Names(); len(names) > 0 {
		if err := replaceFile(s.machine, []byte(strings.Join(names, "\n")+"\n"), readable); err != nil {
			return "", err
		}
	}
	tmp, err := writeTemporary(s.id, []byte(id+"\n"), readable)
	if err != nil {
		return "", err
	}
	// A link, unlike a rename, fails when the name is taken: an id is never overwritten.
	err = os.Link(tmp, s.id)
	os.Remove(tmp)
	if errors.Is(err, fs.ErrExist) {
		return s.read()
	}
	if err != nil {
		return "", err
	}
	// Vault must not store an id that a power cut takes back.
	return id, syncDirectory(dir)
}

func (s state) read() (string, error) {
	content, err := os.ReadFile(s.id)
	if err != nil {
		return "", fmt.Errorf("cannot read the node id: %w", err)
	}
	if !nodeIDText().Match(content) {
		return "", node.Hinted(fmt.Errorf("the node id in %s is damaged", s.id),
			"a member of a cluster: retire it and bring up a new node; a node that never joined: delete the file")
	}
	return string(content[:len(content)-1]), nil
}

// checkMachine refuses data that was made on another machine. It may be a copy, and nothing on the node can tell a copy from
// a disk that was moved: two members with one id and one history are the end of a cluster.
func (s state) checkMachine(id string, machine node.Machine, movedFrom string) error {
	content, err := os.ReadFile(s.machine)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a machine without a name made it
	}
	if err != nil {
		return fmt.Errorf("cannot read which machine the data belongs to: %w", err)
	}
	made := strings.Split(strings.TrimSuffix(string(content), "\n"), "\n")
	for _, name := range made {
		if !node.IsMachineName(name) {
			return node.Hinted(fmt.Errorf("the record of the machine in %s is damaged", s.machine), "bring up a new node with an empty data disk, and remove this one from the cluster")
		}
		if name == movedFrom {
			return nil
		}
	}
	if sameMachine(made, machine.Names()) {
		return nil
	}
	here := "a machine without a name"
	if names := machine.Names(); len(names) > 0 {
		here = names[0]
	}
	return node.Hinted(fmt.Errorf("the data partition is that of another machine: node %s was made on %s, and this is %s", id, made[0], here),
		"a node that is replaced begins with an empty data disk and joins anew. If the disk was moved here and the other machine will never start again, "+
			"say so in this node's node.hcl: moved_from = \""+made[0]+"\". A copy of a node's disk must not be started at all")
}

// sameMachine compares the surest kind of name that both sides have; without one there is nothing to go by.
func sameMachine(made, here []string) bool {
	for _, m := range made {
		kind, _, _ := strings.Cut(m, " ")
		for _, h := range here {
			if strings.HasPrefix(h, kind+" ") {
				return m == h
			}
		}
	}
	return false
}

func newNodeID(random io.Reader, machine node.Machine) (string, error) {
	if machine.Instance == "" {
		return newUUID(random)
	}
	var b [4]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s-%x", machine.Instance, b), nil
}

// newUUID makes a random UUID (RFC 9562, version 4).
func newUUID(random io.Reader) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", err
	}
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16]), nil
}

func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
