//go:build boot

package lab

import (
	"context"
	"strings"
	"testing"
	"time"

	vault "github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/internal/node"
)

// BenchmarkJoinInGuest compares, on real images in one run, two ways into a cluster: the agent's, with all its proofs, and the server's
// own retry_join. Both from the first answer of the server's API to the moment when it is unsealed. An image of ours
// never has retry_join in its configuration; the call of the API that stands in for it is the same code in the server.
func BenchmarkJoinInGuest(b *testing.B) {
	const byAgent, byServer = "node-2", "node-3"
	for b.Loop() {
		c := newCluster(b, ClusterOptions{Nodes: 3, Seal: SealTransit, Prepare: func(name string, given []Credential) ([]Credential, error) {
			if name == byServer {
				for i, credential := range given {
					if credential.Name == node.CredentialConfig {
						given[i].Value = node.NewSecret(withoutJoin(credential.Value.Reveal()))
					}
				}
			}
			return given, nil
		}})
		ctx, cancel := context.WithTimeout(b.Context(), 3*clusterTimeout)
		if err := c.Start(ctx, "node-1"); err != nil {
			b.Fatal(err)
		}
		if err := c.initialiseFirst(ctx); err != nil {
			b.Fatal(err)
		}
		took := map[string]float64{}
		for _, name := range []string{byAgent, byServer} {
			started := make(chan error, 1)
			go func() { started <- c.Start(ctx, name) }()
			awaitAnswer(b, ctx, c, name)
			answered := time.Now()
			if name == byServer {
				retryJoin(b, ctx, c, name)
			}
			awaitUnsealed(b, ctx, c, name)
			took[name] = time.Since(answered).Seconds()
			if err := <-started; err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(took[byAgent], "agent_s")
		b.ReportMetric(took[byServer], "retry_join_s")
		b.ReportMetric(took[byAgent]/took[byServer], "agent/retry_join")
		cancel()
	}
}

// withoutJoin takes the join block out of a node.hcl of the lab.
func withoutJoin(config []byte) []byte {
	before, rest, _ := strings.Cut(string(config), "join {\n")
	_, after, _ := strings.Cut(rest, "\n}\n")
	return []byte(before + after)
}

func awaitAnswer(b *testing.B, ctx context.Context, c *Cluster, name string) {
	b.Helper()
	often(b, ctx, c, name, func(ctx context.Context, client *vault.Client) bool {
		_, err := client.Sys().SealStatusWithContext(ctx)
		return err == nil
	})
}

func awaitUnsealed(b *testing.B, ctx context.Context, c *Cluster, name string) {
	b.Helper()
	often(b, ctx, c, name, func(ctx context.Context, client *vault.Client) bool {
		seal, err := client.Sys().SealStatusWithContext(ctx)
		return err == nil && seal.Initialized && !seal.Sealed
	})
}

// often asks a node until it says yes. A node that is not up yet has not answered.
func often(b *testing.B, ctx context.Context, c *Cluster, name string, yes func(context.Context, *vault.Client) bool) {
	b.Helper()
	for ; ; time.Sleep(20 * time.Millisecond) {
		if ctx.Err() != nil {
			b.Fatalf("%s: %v", name, context.Cause(ctx))
		}
		client, err := c.Client(name)
		if err != nil {
			continue
		}
		asking, cancel := context.WithTimeout(ctx, requestTimeout)
		said := yes(asking, client)
		cancel()
		if said {
			return
		}
	}
}

func retryJoin(b *testing.B, ctx context.Context, c *Cluster, name string) {
	b.Helper()
	client, err := c.Client(name)
	if err != nil {
		b.Fatal(err)
	}
	leader, err := c.member("node-1")
	if err != nil {
		b.Fatal(err)
	}
	if _, err := client.Logical().WriteWithContext(ctx, "sys/storage/raft/join", map[string]any{
		"leader_api_addr": "https://" + leader.lease.Host() + ":8200", "leader_ca_cert": string(c.CA()), "retry": true,
	}); err != nil {
		b.Fatal(err)
	}
}
