package rollout

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/hashicorp/go-version"
)

// Target is the image that every node is to run.
type Target struct {
	Root    string // root hash, hex
	Version string // of the image; for people
}

// Order is which nodes are to be replaced, in that order: those that are not healthy or do not pass, since the cluster loses little with them; then
// standbys, the oldest version of the image first; the active node last, because its loss is the one that clients notice. A healthy
// member of which nobody knows what it runs is not among them.
func (c Cluster) Order(target Target) []Member {
	var outdated []Member
	for _, m := range c.Members {
		if m.Root != target.Root && (m.Root != "" || !m.Healthy) {
			outdated = append(outdated, m)
		}
	}
	slices.SortStableFunc(outdated, func(a, b Member) int {
		return cmp.Or(first(a.Active, b.Active), first(a.Healthy && a.Passes(), b.Healthy && b.Passes()), compareVersions(a.Version, b.Version), cmp.Compare(a.ID, b.ID))
	})
	return outdated
}

// first puts what is false before what is true.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// compareVersions orders image versions as version numbers, and others by their text, before all numbers.
func compareVersions(a, b string) int {
	x, errX := version.NewVersion(a)
	y, errY := version.NewVersion(b)
	switch {
	case errX == nil && errY == nil:
		return x.Compare(y)
	case errX != nil && errY != nil:
		return cmp.Compare(a, b)
	}
	return first(errX == nil, errY == nil)
}

// canLose says why the cluster cannot spare a member now: the voters that stay must have a healthy quorum among themselves, and
// where the member itself is healthy, autopilot must count a failure that the cluster survives.
func (c Cluster) canLose(gone Member) error {
	if !gone.Voter {
		return nil
	}
	voters, healthy := 0, 0
	for _, m := range c.others(gone.ID) {
		if m.Voter {
			voters++
			if m.Healthy {
				healthy++
			}
		}
	}
	quorum := voters/2 + 1
	switch {
	case voters == 0:
		return fmt.Errorf("%s is the only voter: the cluster would be gone", gone.ID)
	case healthy < quorum:
		return fmt.Errorf("without %s the cluster would have no quorum: of the %d voters that stay %d are healthy, and %d are needed", gone.ID, voters, healthy, quorum)
	case gone.Healthy && c.Tolerance < 1:
		return fmt.Errorf("the cluster can lose no healthy voter now: autopilot's failure tolerance is %d", c.Tolerance)
	}
	return nil
}
