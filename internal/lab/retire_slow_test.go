//go:build boot && slow

package lab

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	vault "github.com/hashicorp/vault/api"
)

// TestRetireAtShutdown: node.hcl says that a machine that is switched off never comes back. The active node's power button is pressed while somebody
// writes: it hands over, takes itself out and marks its data; when it is started all the same, it joins nothing. Of the two that are left the next one stays
// a member, and says why.
func TestRetireAtShutdown(t *testing.T) {
	c := newCluster(t, ClusterOptions{Nodes: 3, Seal: SealTransit, PerformanceMultiplier: 3, Blocks: []string{"retire \"shutdown\" {}\n"}})
	ctx := bringUp(t, c)
	requireReady(t, ctx, c, allThree...)
	if err := clientOf(t, c, "node-1").Sys().MountWithContext(ctx, "writes", &vault.MountInput{Type: "kv"}); err != nil {
		t.Fatal(err)
	}
	writing, stop := context.WithCancel(ctx)
	defer stop()
	written := make(chan []int)
	go func() { written <- writeUntil(writing, c) }()

	active := leaderOf(t, ctx, c)
	switchOff(t, ctx, c, active, "stepped down; the active node is", "removed the peer", "marked the data partition as retired")
	var rest []string
	for _, name := range allThree {
		if name != active {
			rest = append(rest, name)
		}
	}
	requirePeers(t, ctx, c, rest...)
	if err := c.Start(ctx, active); err != nil {
		t.Fatal(err)
	}
	said := ""
	for ctx.Err() == nil && !strings.Contains(said, "refused: ") {
		time.Sleep(pace)
		said = sayOf(ctx, c, active)
	}
	if !strings.Contains(said, "was retired at") {
		t.Errorf("%s: %q", active, said)
	}
	requirePeers(t, ctx, c, rest...)
	stop()
	client := clientOf(t, c, leaderOf(t, ctx, c))
	acknowledged := <-written
	for _, i := range acknowledged {
		if secret, err := client.Logical().ReadWithContext(ctx, fmt.Sprintf("writes/%d", i)); err != nil || secret == nil {
			t.Fatalf("write %d of %d was acknowledged and is lost: %v", i, len(acknowledged), err)
		}
	}
	t.Logf("%d writes were acknowledged, and none is lost", len(acknowledged))

	switchOff(t, ctx, c, rest[0], "this node stays a member: the cluster can lose no voter now (failure tolerance 0)")
}

// switchOff presses the power button, and finds on the console what hostcheck leave has said.
func switchOff(t *testing.T, ctx context.Context, c *Cluster, name string, want ...string) {
	t.Helper()
	m, err := c.member(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.PowerOff(ctx, name); err != nil {
		t.Fatal(err)
	}
	console, err := os.ReadFile(m.consoleLog())
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range want {
		if !strings.Contains(string(console), part) {
			t.Errorf("the console of %s does not show %q", name, part)
		}
	}
}
