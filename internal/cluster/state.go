package cluster

import (
	"time"
)

// State is how far a node has come on its way into the cluster.
type State string

// The states, in the order in which a node passes them.
const (
	Off     State = "off"     // node.hcl has no join block: nothing is done
	Gate    State = "gate"    // the host is judged
	API     State = "api"     // the local server's API is waited for
	Local   State = "local"   // is the local server a member already, was it removed?
	Find    State = "find"    // members of the cluster are looked for
	NoneYet State = "none"    // no member is initialized: somebody has to initialize the first
	Prove   State = "prove"   // each member that was found is asked, the active node is chosen
	Judge   State = "judge"   // stage run must pass
	Join    State = "join"    // the local server is told to join
	Unseal  State = "unseal"  // the local server is still sealed
	Listed  State = "listed"  // the leader must list this node
	Promote State = "promote" // OpenBao: a verified non-voter becomes a voter
	Ready   State = "ready"   // a member
	Refused State = "refused" // final until something changes
	Failed  State = "failed"  // tried in vain; tried again
)

// States are all of them.
var States = []State{Off, Gate, API, Local, Find, NoneYet, Prove, Judge, Join, Unseal, Listed, Promote, Ready, Refused, Failed}

// Status is what is known of a node's way into the cluster. It holds no secret.
type Status struct {
	State  State
	Reason string // one sentence; empty when there is nothing to say
	Hint   string // the way out
	Since  time.Time
	Leader string // address of the active node, as far as it is known
	Peers  []Peer // what was found, in the order in which it was asked
	Voter  bool   // the leader has said so
}

// Peer is a candidate: an address at which a member of the cluster may answer.
type Peer struct {
	Address string
	Problem string // why it cannot be joined; empty: it can
}
