package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/snapshot"
)

// LockStore is a store in which of several writers only the first one succeeds: those of hostcheck snapshot.
type LockStore interface {
	Name() string
	// PutNew fails with [snapshot.ErrThere] where there is something already.
	PutNew(ctx context.Context, name string, content []byte) error
	// Open fails with [snapshot.ErrMissing] where there is nothing.
	Open(ctx context.Context, name string) (io.ReadCloser, error)
}

const (
	// lockName is what lies in the lock's place: the id of the node that has initialised the cluster, or begun to.
	lockName = "initialised-by"
	// maxHolder is more than a node id has.
	maxHolder = 4 << 10
	lockTries = 3
)

// claim takes the lock of node.hcl, for ever: who has it has initialised the cluster, or begun to.
func (r *run) claim(ctx context.Context) error {
	switch {
	case r.config.Here:
		return nil
	case r.config.Lock != "":
		return r.claimDirectory(filepath.Join(r.config.Lock, lockName))
	case r.LockStore != nil:
		return r.claimStore(ctx)
	}
	return errNothing("node.hcl has a bootstrap block with none of here, lock and lock_store: this node initialises nothing")
}

// held judges whose the lock is.
func (r *run) held(holder, place string) error {
	if holder != r.Identity.NodeID {
		return errNothing(fmt.Sprintf("another node (%q) has the lock %s: this one initialises nothing", holder, place))
	}
	return nil
}

func (r *run) claimDirectory(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		b, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("cannot read the lock: %w", err)
		}
		return r.held(string(b), path)
	}
	if err != nil {
		return node.Hinted(fmt.Errorf("cannot take the lock: %w", err), "mount the volume that all candidates share; its directory must be there")
	}
	_, err = f.WriteString(r.Identity.NodeID)
	if err := errors.Join(err, f.Sync(), f.Close(), syncDirectory(filepath.Dir(path))); err != nil {
		return fmt.Errorf("cannot take the lock: %w", err)
	}
	return nil
}

// claimStore takes the lock by a conditional write. A server that is compatible with S3 may not know the condition and let everybody write: so the
// write is tried once more, and one that succeeds twice is none that anybody may rely on.
func (r *run) claimStore(ctx context.Context) error {
	place := r.LockStore.Name() + lockName
	own := []byte(r.Identity.NodeID)
	for range lockTries {
		err := r.LockStore.PutNew(ctx, lockName, own)
		if err == nil {
			if err = r.LockStore.PutNew(ctx, lockName, own); err == nil {
				return node.Hinted(fmt.Errorf("%s lets one write over what is there: it is no lock", place), "a store that knows If-None-Match, or here = true on one node; remove what lies there")
			}
		}
		if !errors.Is(err, snapshot.ErrThere) {
			return fmt.Errorf("cannot take the lock %s: %w", place, err)
		}
		holder, err := r.readLock(ctx)
		if errors.Is(err, snapshot.ErrMissing) {
			continue // of two at the same time neither has got it
		}
		if err != nil {
			return fmt.Errorf("cannot read the lock %s: %w", place, err)
		}
		return r.held(holder, place)
	}
	return fmt.Errorf("cannot take the lock %s: it is there, and it is not", place)
}

func (r *run) readLock(ctx context.Context) (string, error) {
	in, err := r.LockStore.Open(ctx, lockName)
	if err != nil {
		return "", err
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, maxHolder))
	return string(b), err
}
