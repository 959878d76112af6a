//go:build boot && slow

package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	vault "github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/internal/node"
)

var allThree = []string{"node-1", "node-2", "node-3"}

// TestClusterSurvives: the leader's power is cut while somebody writes, and it comes back; a node is replaced; the leader dies
// while a node joins; and the power of a joining node is cut at five points of its join, each of which ends in a correct member or a clear refusal. All of it
// happens to one cluster, since it takes the longest to boot.
func TestClusterSurvives(t *testing.T) {
	// With the emulated nodes' 5, one split vote takes longer than a new leader may.
	c := newCluster(t, ClusterOptions{Nodes: 3, Seal: SealTransit, PerformanceMultiplier: 3})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
	defer cancel()
	if err := c.Up(ctx); err != nil {
		t.Fatal(err)
	}
	requireReady(t, ctx, c, allThree...)
	t.Run("the leader dies without a warning", func(t *testing.T) { loseLeader(t, ctx, c) })
	t.Run("a node is replaced", func(t *testing.T) { replaceNode(t, ctx, c) })
	t.Run("the leader dies while a node joins", func(t *testing.T) { loseLeaderToJoin(t, ctx, c) })
	for _, state := range []string{"unseal", "listed", "prove", "judge", "gate"} {
		t.Run("the power is cut at "+state, func(t *testing.T) { replaceAndCut(t, ctx, c, follower(t, ctx, c), state, allThree) })
	}
}

// newLeaderWithin is how soon another node leads. An emulated one is slower than that by the factor of its emulation; the
// bound is Raft's own and holds for both.
const newLeaderWithin = 15 * time.Second

func loseLeader(t *testing.T, ctx context.Context, c *Cluster) {
	if err := clientOf(t, c, "node-1").Sys().MountWithContext(ctx, "writes", &vault.MountInput{Type: "kv"}); err != nil {
		t.Fatal(err)
	}
	leader := leaderOf(t, ctx, c)
	before := idsOf(t, ctx, c)
	writing, stop := context.WithCancel(ctx)
	defer stop()
	written := make(chan []int)
	go func() { written <- writeUntil(writing, c) }()
	time.Sleep(5 * time.Second)
	if err := c.Kill(leader); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	for {
		next, err := c.leader(ctx)
		if err == nil && next != leader {
			t.Logf("%s leads after %.1f s", next, time.Since(killed).Seconds())
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("no other leader: %v", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	if took := time.Since(killed); took > newLeaderWithin {
		t.Errorf("another node leads after %s, want %s", took, newLeaderWithin)
	}
	time.Sleep(10 * time.Second) // and is written to
	stop()
	acknowledged := <-written
	if err := c.Start(ctx, leader); err != nil {
		t.Fatal(err)
	}
	if err := c.AwaitMembers(ctx, allThree...); err != nil {
		t.Fatal(err)
	}
	requireReady(t, ctx, c, allThree...)
	requirePeers(t, ctx, c, allThree...)
	if after := idsOf(t, ctx, c); after[leader] != before[leader] {
		t.Errorf("%s had the id %s and has %s", leader, before[leader], after[leader])
	}
	client := clientOf(t, c, leader)
	for _, i := range acknowledged {
		secret, err := client.Logical().ReadWithContext(ctx, fmt.Sprintf("writes/%d", i))
		if err != nil || secret == nil {
			t.Fatalf("write %d of %d was acknowledged and is lost: %v", i, len(acknowledged), err)
		}
	}
	t.Logf("%d writes were acknowledged, and none is lost", len(acknowledged))
	if len(acknowledged) < 10 {
		t.Errorf("only %d writes", len(acknowledged))
	}
}

// writeUntil writes one entry after the other, on whichever node takes it, and returns those that were acknowledged.
func writeUntil(ctx context.Context, c *Cluster) (acknowledged []int) {
	for i := 0; ctx.Err() == nil; i++ {
		if c.ask(ctx, func(ctx context.Context, client *vault.Client) error {
			_, err := client.Logical().WriteWithContext(ctx, fmt.Sprintf("writes/%d", i), map[string]any{"value": i})
			return err
		}) == nil {
			acknowledged = append(acknowledged, i)
		}
	}
	return acknowledged
}

func replaceNode(t *testing.T, ctx context.Context, c *Cluster) {
	name := follower(t, ctx, c)
	before := idsOf(t, ctx, c)
	watching, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Add(1)
	fewest := len(allThree)
	go func() {
		defer watch.Done()
		for watching.Err() == nil {
			// What could not be asked was not seen: the leader may change hands.
			if up, err := votersUp(watching, c); err == nil {
				fewest = min(fewest, up)
			}
			time.Sleep(pace)
		}
	}()
	err := c.Replace(ctx, name)
	if err == nil {
		err = c.AwaitMembers(ctx, allThree...)
	}
	stop()
	watch.Wait()
	if err != nil {
		t.Fatal(err)
	}
	requireReady(t, ctx, c, allThree...)
	requirePeers(t, ctx, c, allThree...)
	if after := idsOf(t, ctx, c); after[name] == before[name] {
		t.Errorf("%s still has the id %s", name, before[name])
	}
	if fewest < 2 {
		t.Errorf("only %d voters were up at some moment", fewest)
	}
}

// votersUp counts the voters whose servers answer, unsealed. Autopilot does not tell that: for some seconds after an election it knows of no other
// member that it is healthy.
func votersUp(ctx context.Context, c *Cluster) (int, error) {
	peers, err := c.Peers(ctx)
	if err != nil {
		return 0, err
	}
	up := 0
	for _, m := range c.members {
		peer, _ := m.peerOf(peers)
		client, err := c.Client(m.name)
		if !peer.Voter || err != nil {
			continue
		}
		if said, err := client.Sys().HealthWithContext(ctx); err == nil && said.Initialized && !said.Sealed {
			up++
		}
	}
	return up, ctx.Err() // who was not asked to the end is not down
}

// loseLeaderToJoin kills the leader when a fresh node has proven it and is about to join. Two of three voters are left at the
// most, and one of those is not there yet: nobody can join until the leader is back.
func loseLeaderToJoin(t *testing.T, ctx context.Context, c *Cluster) {
	leader := leaderOf(t, ctx, c)
	r := replaceUntil(t, ctx, c, follower(t, ctx, c), "judge")
	if err := c.Kill(leader); err != nil {
		t.Fatal(err)
	}
	if err := <-r.booted; err != nil {
		t.Fatal(err)
	}
	if err := c.Start(ctx, leader); err != nil {
		t.Fatal(err)
	}
	r.requireMember(t, ctx, c, allThree)
}

// leader asks every node whether it leads. A follower's word about the leader may be as old as its last heartbeat.
func (c *Cluster) leader(ctx context.Context) (string, error) {
	for _, m := range c.members {
		client, err := c.Client(m.name)
		if err != nil {
			continue
		}
		asking, cancel := context.WithTimeout(ctx, 2*time.Second)
		leader, err := client.Sys().LeaderWithContext(asking)
		cancel()
		if err == nil && leader.IsSelf {
			return m.name, nil
		}
	}
	return "", errors.New("nobody leads")
}

func leaderOf(t *testing.T, ctx context.Context, c *Cluster) string {
	t.Helper()
	name, err := c.leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// follower is the last node that does not lead.
func follower(t *testing.T, ctx context.Context, c *Cluster) string {
	t.Helper()
	if leaderOf(t, ctx, c) != "node-3" {
		return "node-3"
	}
	return "node-2"
}

func idsOf(t *testing.T, ctx context.Context, c *Cluster) map[string]string {
	t.Helper()
	peers, err := c.Peers(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]string{}
	for _, m := range c.members {
		if p, ok := m.peerOf(peers); ok {
			ids[m.name] = p.NodeID
		}
	}
	return ids
}

// TestClusterRefuses: nodes that cannot join, each for another reason, say why and are no members.
func TestClusterRefuses(t *testing.T) {
	other, err := NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	// What is wrong with each, and the words of the reason.
	want := map[string]string{
		"node-2": "not good for", // it looks for a name that the leader's certificate does not have
		"node-3": "authority",    // it believes another authority
		"node-4": "clock",        // its time server is an hour ahead
		"node-5": "answer",       // the addresses of its leaders are nobody's
	}
	c := newCluster(t, ClusterOptions{Nodes: 5, Seal: SealTransit, Prepare: func(name string, given []Credential) ([]Credential, error) {
		change := func(old, new string) {
			for i, credential := range given {
				if credential.Name == node.CredentialConfig {
					given[i].Value = node.NewSecret([]byte(strings.ReplaceAll(string(credential.Value.Reveal()), old, new)))
				}
			}
		}
		switch name {
		case "node-2":
			change("    address = \"https://node-1.lab:8200\"\n", "    address = \"https://node-1.lab:8200\"\n    server_name = \"vault.example.net\"\n")
		case "node-3":
			change("    address = \"https://node-1.lab:8200\"\n", "    address = \"https://node-1.lab:8200\"\n    ca = \"credential:strongroom.leader.ca\"\n")
			given = append(given, Credential{"strongroom.leader.ca", node.NewSecret(other.CA())})
		case "node-5":
			change(".lab:8200\"\n  }", ".nowhere.lab:8200\"\n  }")
			change("https://node-1.nowhere.lab", "https://10.0.2.120")
		}
		return given, nil
	}})
	skewed, err := c.Network().Lease("node-4", 0)
	if err != nil {
		t.Fatal(err)
	}
	c.Network().SetClock(skewed, time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Minute)
	defer cancel()
	up := make(chan error, 1)
	upping, stop := context.WithCancel(ctx)
	go func() { up <- c.Up(upping) }()
	defer func() {
		stop()
		<-up
	}()
	// All are looked at in turn: they boot in any order.
	says := map[string]string{}
	for len(want) > 0 && ctx.Err() == nil {
		for name, reason := range want {
			said := sayOf(ctx, c, name)
			if said != says[name] {
				says[name] = said
				t.Logf("%s: %s", name, said)
			}
			if strings.Contains(said, reason) && (strings.HasPrefix(said, "refused: ") || strings.HasPrefix(said, "failed: ")) {
				delete(want, name)
			}
		}
		time.Sleep(pace)
	}
	for name, reason := range want {
		t.Errorf("%s: the join is at %q; want a refusal with %q", name, says[name], reason)
	}
	requirePeers(t, ctx, c, "node-1")
}
