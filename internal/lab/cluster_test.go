//go:build boot

package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	vault "github.com/hashicorp/vault/api"
)

const clusterTimeout = 18 * time.Minute // emulated, three nodes on two cores

// newCluster prepares a cluster that ends with the test. It takes the place of every machine that the tests may run at once.
func newCluster(t *testing.T, o ClusterOptions) *Cluster {
	t.Helper()
	o.Image, _ = finished(t)
	o.Dir = t.TempDir()
	o.Log = testLog()
	if o.Seal == SealTransit {
		var err error
		if o.VaultBinary, err = serverBinary(vaultProduct(t)); err != nil {
			t.Fatal(err)
		}
	}
	for range cap(slots) {
		slots <- struct{}{}
	}
	t.Cleanup(func() {
		for range cap(slots) {
			<-slots
		}
	})
	c, err := NewCluster(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			c.tell(t)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// tell shows what a failed test has left.
func (c *Cluster) tell(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var table bytes.Buffer
	WriteStatus(&table, c.Status(ctx))
	t.Logf("the lab:\n%s", table.String())
	for _, m := range c.members {
		if n := m.running(); n != nil && !n.IsCut() {
			if metrics, err := n.Metrics(ctx); err == nil {
				for line := range strings.Lines(string(metrics)) {
					if strings.HasPrefix(line, "hostcheck_join") && !strings.HasSuffix(line, " 0\n") {
						t.Logf("%s: %s", m.name, line)
					}
				}
			}
		}
		text, _ := os.ReadFile(m.consoleLog())
		t.Logf("console of %s:\n%s", m.name, text[max(0, len(text)-16<<10):])
	}
}

func bringUp(t *testing.T, c *Cluster) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), clusterTimeout)
	t.Cleanup(cancel)
	started := time.Now()
	if err := c.Up(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("up after %.0f s", time.Since(started).Seconds())
	return ctx
}

func clientOf(t *testing.T, c *Cluster, name string) *vault.Client {
	t.Helper()
	client, err := c.Client(name)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// TestClusterOfThree: the first node is initialised with a transit seal, whose Vault is outside; two join unattended. Autopilot
// finds them healthy, with a tolerance of one. What is written on one is read on another.
func TestClusterOfThree(t *testing.T) {
	c := newCluster(t, ClusterOptions{Nodes: 3, Seal: SealTransit})
	ctx := bringUp(t, c)

	t.Run("autopilot: healthy, one may fail", func(t *testing.T) {
		state, err := c.Autopilot(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if !state.Healthy || state.FailureTolerance != 1 || len(state.Voters) != 3 {
			t.Errorf("autopilot: %+v", state)
		}
	})
	t.Run("every node says so itself", func(t *testing.T) {
		var status Status
		for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(pace) {
			status = c.Status(ctx)
			ready := 0
			for _, n := range status.Nodes {
				if n.Join == "ready" {
					ready++
				}
			}
			if ready == 3 {
				break
			}
		}
		leaders := 0
		for _, n := range status.Nodes {
			if n.Role == "leader" {
				leaders++
			}
			if n.Join != "ready" || n.State != stateRunning || (n.Role != "leader" && n.Role != "follower") {
				t.Errorf("%+v", n)
			}
		}
		if leaders != 1 {
			t.Errorf("%d leaders", leaders)
		}
	})
	t.Run("written on one, read on another", func(t *testing.T) {
		first, last := clientOf(t, c, "node-1"), clientOf(t, c, "node-3")
		if err := first.Sys().MountWithContext(ctx, "proof", &vault.MountInput{Type: "kv"}); err != nil {
			t.Fatal(err)
		}
		value := fmt.Sprint(time.Now().UnixNano())
		if _, err := first.Logical().WriteWithContext(ctx, "proof/entry", map[string]any{"value": value}); err != nil {
			t.Fatal(err)
		}
		secret, err := last.Logical().ReadWithContext(ctx, "proof/entry")
		if err != nil || secret == nil || secret.Data["value"] != value {
			t.Errorf("read %+v, %v; want %s", secret, err, value)
		}
	})
}
