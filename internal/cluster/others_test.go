package cluster

import (
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/node"
)

// Who starts a cluster asks all members: an empty one is no obstacle, one that is initialised is the cluster, and one that cannot be asked may be it.
func TestOthers(t *testing.T) {
	forEachProduct(t, func(t *testing.T, p product) {
		w := newWorld(t, p, false)
		own, other := w.add("own"), w.add("other").start().answering()
		id := own.identity(own, other) // an address of this node itself is not asked
		if initialized, err := Others(t.Context(), id, nil, nil); err != nil || len(initialized) > 0 {
			t.Errorf("an empty one: %v, %v", initialized, err)
		}
		other.initialize()
		id.Join.Leaders = append(id.Join.Leaders, node.Leader{Address: "https://127.0.0.9:1"})
		initialized, err := Others(t.Context(), id, nil, nil)
		if !slices.Equal(initialized, []string{other.url()}) || err == nil || !strings.Contains(err.Error(), "https://127.0.0.9:1 refuses the connection") {
			t.Errorf("an initialised one and a dead one: %v, %v", initialized, err)
		}
		// Nor is one believed to be empty that cannot be believed at all.
		stranger := newWorld(t, p, false).add("stranger").start().answering()
		id = own.identity()
		id.Join.Leaders = []node.Leader{{Address: stranger.url(), ServerName: stranger.ServerName}}
		if _, err := Others(t.Context(), id, nil, nil); err == nil || !strings.Contains(err.Error(), "an authority that this cluster does not know") {
			t.Errorf("a stranger: %v", err)
		}
		if initialized, err := Others(t.Context(), own.identity(), nil, nil); err != nil || len(initialized) > 0 {
			t.Errorf("nobody to ask: %v, %v", initialized, err)
		}
	})
}
