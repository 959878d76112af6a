package host

import "context"

// RootTree is a directory that holds a root file system in which nothing runs: an image in the making.
type RootTree struct{ root }

var _ Host = (*RootTree)(nil)

// Tree opens a root tree. Questions about running state answer ErrNotRunning.
func Tree(dir string) (*RootTree, error) {
	r, err := openRoot(dir)
	if err != nil {
		return nil, err
	}
	return &RootTree{r}, nil
}

// Close releases the tree.
func (t *RootTree) Close() error { return t.close() }

// Swaps answers ErrNotRunning.
func (*RootTree) Swaps() ([]Swap, error) { return nil, ErrNotRunning }

// Mounts answers ErrNotRunning.
func (*RootTree) Mounts() ([]Mount, error) { return nil, ErrNotRunning }

// KernelArguments answers ErrNotRunning.
func (*RootTree) KernelArguments() ([]string, error) { return nil, ErrNotRunning }

// Modules answers ErrNotRunning.
func (*RootTree) Modules() ([]string, error) { return nil, ErrNotRunning }

// Listeners answers ErrNotRunning.
func (*RootTree) Listeners() ([]Listener, error) { return nil, ErrNotRunning }

// Process answers ErrNotRunning.
func (*RootTree) Process(int) (Process, error) { return Process{}, ErrNotRunning }

// Unit answers ErrNotRunning.
func (*RootTree) Unit(context.Context, string) (Unit, error) { return Unit{}, ErrNotRunning }

// UnitStatus answers ErrNotRunning.
func (*RootTree) UnitStatus(context.Context, string) (UnitStatus, error) {
	return UnitStatus{}, ErrNotRunning
}

// Units answers ErrNotRunning.
func (*RootTree) Units(context.Context) ([]UnitStatus, error) { return nil, ErrNotRunning }

// Ruleset answers ErrNotRunning.
func (*RootTree) Ruleset(context.Context) (Ruleset, error) { return Ruleset{}, ErrNotRunning }
