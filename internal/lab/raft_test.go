package lab

import (
	"bytes"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/bootstrap"
	"github.com/strongroom/strongroom/internal/lab/network"
)

// The lab gives the agents the policy that the documentation tells operators to write.
func TestAgentPolicy(t *testing.T) {
	text, err := os.ReadFile("../../docs/node.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, begun := strings.Cut(string(text), "```hcl\n# strongroom-agent:")
	policy, _, ended := strings.Cut(rest, "```")
	if !begun || !ended || bootstrap.AgentPolicy != "# strongroom-agent:"+policy {
		t.Error("internal/bootstrap/policies/strongroom-agent.hcl is not the policy of docs/node.md: run make generate")
	}
}

func TestPeerOf(t *testing.T) {
	peers := []Peer{{NodeID: "a", Address: "node-1.lab:8201"}, {NodeID: "b", Address: "10.0.2.66:8201", Voter: true}}
	for name, want := range map[string]string{"node-1": "a", "node-2": "b", "node-3": ""} {
		m := &member{name: name, lease: &network.Lease{Name: name, Address: netip.MustParseAddr("10.0.2.6" + string(name[5]+4))}}
		if p, ok := m.peerOf(peers); p.NodeID != want || ok != (want != "") {
			t.Errorf("%s is %+v", name, p)
		}
	}
}

func TestStateSet(t *testing.T) {
	page := []byte("# TYPE hostcheck_join_state gauge\nhostcheck_join_state{hostcheck_join_state=\"join\"} 0\nhostcheck_join_state{hostcheck_join_state=\"ready\"} 1\n")
	if got := stateSet(page, "hostcheck_join_state"); got != "ready" {
		t.Errorf("state %q", got)
	}
	if got := stateSet([]byte("hostcheck_other 1\n"), "hostcheck_join_state"); got != "" {
		t.Errorf("state %q of a page without one", got)
	}
}

func TestUnfit(t *testing.T) {
	s := Status{Nodes: []NodeStatus{
		{Name: "node-1", State: stateRunning, Verdict: "pass at member"}, {Name: "node-2", State: stateRunning, Verdict: "fail at boot"},
		{Name: "node-3", State: stateOff}, {Name: "node-4", State: stateBooting},
	}}
	if got := strings.Join(s.Unfit(), " "); got != "node-2 node-4" {
		t.Errorf("unfit: %s", got)
	}
}

func TestWriteStatus(t *testing.T) {
	var b bytes.Buffer
	if err := WriteStatus(&b, Status{
		Image: "strongroom-vault 0.1.0", Seal: SealTransit, Initialised: true, Healthy: true, FailureTolerance: 1,
		Nodes: []NodeStatus{
			{Name: "node-1", State: stateRunning, Verdict: "pass at run", Role: "leader", Join: "ready", API: "127.0.0.1:1", Report: "https://127.0.0.1:2/report"},
			{Name: "node-2", State: stateOff, Role: "follower"},
		},
	}); err != nil {
		t.Fatal(err)
	}
	want := `NODE    STATE    VERDICT      RAFT      JOIN   API                  REPORT
node-1  running  pass at run  leader    ready  https://127.0.0.1:1  https://127.0.0.1:2/report
node-2  off      -            follower  -      -                    -

image strongroom-vault 0.1.0; seal transit; cluster healthy, failure tolerance 1
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
