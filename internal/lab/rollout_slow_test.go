//go:build boot && slow

package lab

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	vault "github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/overlay"
	"github.com/strongroom/strongroom/internal/rollout"
)

// TestRollout moves three nodes to another image while somebody writes: no acknowledged write is lost, two nodes are always there, and the
// active node goes last. Then it stops at the first node of an image that does not pass.
func TestRollout(t *testing.T) {
	c := newCluster(t, ClusterOptions{Nodes: 3, Seal: SealTransit, PerformanceMultiplier: 3})
	if err := bake(t.Context(), recipe{name: "next", version: "2.0.0", drift: []overlay.Fragment{{Path: "/usr/share/doc/next", Content: []byte("another image\n")}}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Minute)
	defer cancel()
	if err := c.Up(ctx); err != nil {
		t.Fatal(err)
	}
	requireReady(t, ctx, c, allThree...)
	if err := clientOf(t, c, "node-1").Sys().MountWithContext(ctx, "writes", &vault.MountInput{Type: "kv"}); err != nil {
		t.Fatal(err)
	}
	active, before := leaderOf(t, ctx, c), idsOf(t, ctx, c)

	writing, stop := context.WithCancel(ctx)
	defer stop()
	written := make(chan []int)
	go func() { written <- writeUntil(writing, c) }()
	replaced, fewest, err := roll(t, ctx, c, "next")
	stop()
	acknowledged := <-written
	if err != nil {
		t.Fatal(err)
	}
	if len(replaced) != 3 || replaced[2] != active {
		t.Errorf("replaced %v, and %s was active", replaced, active)
	}
	if fewest < 2 {
		t.Errorf("only %d voters were up at some moment", fewest)
	}
	requirePeers(t, ctx, c, allThree...)
	for name, id := range idsOf(t, ctx, c) {
		if id == before[name] {
			t.Errorf("%s still has the id %s", name, id)
		}
	}
	client := clientOf(t, c, leaderOf(t, ctx, c))
	for _, i := range acknowledged {
		if secret, err := client.Logical().ReadWithContext(ctx, fmt.Sprintf("writes/%d", i)); err != nil || secret == nil {
			t.Fatalf("write %d of %d was acknowledged and is lost: %v", i, len(acknowledged), err)
		}
	}
	t.Logf("%d writes were acknowledged, and none is lost", len(acknowledged))

	variant(t, "failing", sysctlFault("fs.protected_fifos", "0"))
	replaced, _, err = roll(t, ctx, c, "failing")
	if err == nil || !strings.Contains(err.Error(), "links-protected") || len(replaced) != 1 {
		t.Errorf("replaced %v, and %v; want the first node's control", replaced, err)
	}
}

// roll moves the cluster to an image that was baked here. It gives the names of the replaced nodes in their order, and how few voters were up
// at any look.
func roll(t *testing.T, ctx context.Context, c *Cluster, name string) (replaced []string, fewest int, err error) {
	t.Helper()
	dir := filepath.Join(workDir, name)
	manifest, err := readManifest(filepath.Join(dir, image.ManifestName))
	if err != nil {
		t.Fatal(err)
	}
	if c.options.Disks == nil {
		c.options.Disks = map[string]string{}
	}
	source := &watched{Source: sourceOf(t, c), lab: c, fewest: 3}
	err = (&rollout.Rollout{
		Cluster: source, Target: rollout.Target{Root: manifest.RootHash, Version: manifest.Version}, Size: 3,
		Patience: c.options.Timeout, Settle: 30 * time.Second, Pace: 2 * time.Second,
		Say: func(line string) { t.Log(line) },
		Replace: func(ctx context.Context, gone rollout.Member) error {
			i := slices.IndexFunc(c.members, func(m *member) bool {
				return slices.Contains([]string{m.lease.Host(), m.lease.Address.String()}, gone.Host)
			})
			if i < 0 {
				return fmt.Errorf("no machine is at %s", gone.Host)
			}
			m := c.members[i]
			replaced = append(replaced, m.name)
			if err := m.end((*Node).Kill); err != nil {
				return err
			}
			c.options.Disks[m.name] = filepath.Join(dir, "disk.raw")
			m.renew()
			return m.start(c.ctx)
		},
	}).Run(ctx)
	return replaced, source.fewest, err
}

// watched counts the voters at each look.
type watched struct {
	*rollout.Source
	lab    *Cluster
	fewest int
}

func (w *watched) Look(ctx context.Context) (rollout.Cluster, error) {
	c, err := w.Source.Look(ctx)
	if err == nil {
		if up, err := votersUp(ctx, w.lab); err == nil {
			w.fewest = min(w.fewest, up)
		}
	}
	return c, err
}

// sourceOf reaches the nodes at their own addresses, on the lab's network.
func sourceOf(t *testing.T, c *Cluster) *rollout.Source {
	t.Helper()
	hosts := map[string]netip.Addr{}
	for _, m := range c.members {
		hosts[m.lease.Host()] = m.lease.Address
	}
	transport := func() *http.Transport {
		return &http.Transport{TLSClientConfig: c.authority.ClientTLS(), DisableKeepAlives: true, DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			number, err := strconv.ParseUint(port, 10, 16)
			if err != nil {
				return nil, err
			}
			to, known := hosts[host]
			if !known {
				if to, err = netip.ParseAddr(host); err != nil {
					return nil, fmt.Errorf("no such host: %s, only %v", host, slices.Sorted(maps.Keys(hosts)))
				}
			}
			return c.network.Dial(ctx, netip.AddrPortFrom(to, uint16(number)))
		}}
	}
	config := vault.DefaultConfig()
	config.Address, config.HttpClient = fmt.Sprintf("https://%s:%d", c.members[0].lease.Host(), c.services.API), &http.Client{Transport: transport()}
	client, err := vault.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	client.SetMaxRetries(0)
	client.SetToken(string(c.Keys().RootToken.Reveal()))
	return &rollout.Source{Client: client, Agents: &http.Client{Transport: transport()}, APIPort: c.services.API, AgentPort: c.services.Telemetry}
}
