package configure

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/strongroom/strongroom/internal/node"
)

var uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\n$`)

// nodeID gives the node's Raft identity, and makes one on the first boot.
//
// It is random, because Vault removes a node for good when an id comes back that was removed
// before. It lives on the data partition, because it must be as old as the Raft data. A damaged one is an error:
// a new id over old data would be a second member that claims the same history.
func nodeID(path string, random io.Reader) (string, error) {
	id, err := readNodeID(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", fmt.Errorf("cannot keep the node id: %w", err)
	}
	id, err = newUUID(random)
	if err != nil {
		return "", fmt.Errorf("cannot make a node id: %w", err)
	}
	tmp, err := writeTemporary(path, []byte(id+"\n"), func(f *os.File) error { return f.Chmod(0o644) })
	if err != nil {
		return "", fmt.Errorf("cannot keep the node id: %w", err)
	}
	// A link, unlike a rename, fails when the name is taken: an id is never overwritten.
	err = os.Link(tmp, path)
	os.Remove(tmp)
	if errors.Is(err, fs.ErrExist) {
		return readNodeID(path)
	}
	if err != nil {
		return "", fmt.Errorf("cannot keep the node id: %w", err)
	}
	// Vault must not store an id that a power cut takes back.
	if err := syncDirectory(filepath.Dir(path)); err != nil {
		return "", fmt.Errorf("cannot keep the node id: %w", err)
	}
	return id, nil
}

func readNodeID(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("cannot read the node id: %w", err)
	}
	if !uuid.Match(content) {
		return "", node.Hinted(fmt.Errorf("the node id in %s is damaged", path),
			"a member of a cluster: retire it and bring up a new node; a node that never joined: delete the file")
	}
	return string(content[:len(content)-1]), nil
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
