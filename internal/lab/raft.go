package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	vault "github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/internal/bootstrap"
	"github.com/strongroom/strongroom/internal/node"
)

// agentRole is the role with which the agents log in by their certificates.
const agentRole = "strongroom-node"

// Peer is one member of the cluster as its leader lists it.
type Peer struct {
	NodeID  string `json:"node_id"`
	Address string `json:"address"` // host and port of cluster_addr
	Leader  bool   `json:"leader"`
	Voter   bool   `json:"voter"`
}

// Client is a client of one node's API, with the root token of the lab once there is one.
func (c *Cluster) Client(name string) (*vault.Client, error) {
	m, err := c.member(name)
	if err != nil {
		return nil, err
	}
	n := m.running()
	if n == nil {
		return nil, &DownError{Name: name}
	}
	client, err := newClient("https://"+n.Address(c.services.API), c.authority.ClientTLS())
	if err != nil {
		return nil, err
	}
	client.SetToken(string(c.Keys().RootToken.Reveal()))
	return client, nil
}

// Keys are the secrets of the cluster; empty before it was initialised.
func (c *Cluster) Keys() Keys {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keys
}

// initialise makes the cluster: one node is initialised, unsealed and set up. Doing so on its own is the lab's: an image
// never initialises itself.
func (c *Cluster) initialise(ctx context.Context, m *member) error {
	client, err := c.Client(m.name)
	if err != nil {
		return err
	}
	request := &vault.InitRequest{SecretShares: 1, SecretThreshold: 1}
	if c.transit != nil {
		request = &vault.InitRequest{RecoveryShares: 1, RecoveryThreshold: 1}
	}
	answer, err := client.Sys().InitWithContext(ctx, request)
	if err != nil {
		return fmt.Errorf("cannot initialise %s: %w", m.name, err)
	}
	keys := Keys{RootToken: node.NewSecret([]byte(answer.RootToken))}
	if c.transit == nil {
		keys.UnsealKey = node.NewSecret([]byte(answer.KeysB64[0]))
	}
	c.mu.Lock()
	c.keys = keys
	c.mu.Unlock()
	c.options.Log.Info("initialised", "node", m.name, "seal", c.options.Seal)
	c.tending.Add(1)
	go func() {
		defer c.tending.Done()
		c.tend()
	}()
	waiting, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	client.SetToken(answer.RootToken)
	if err := awaitLead(waiting, client); err != nil {
		return fmt.Errorf("%s does not become the leader: %w", m.name, err)
	}
	if err := c.setUp(waiting, client); err != nil {
		return fmt.Errorf("cannot set up the cluster: %w", err)
	}
	return nil
}

func awaitLead(ctx context.Context, client *vault.Client) error {
	for {
		leader, err := client.Sys().LeaderWithContext(ctx)
		if err == nil && leader.IsSelf {
			return nil
		}
		if err := wait(ctx, pace, err); err != nil {
			return err
		}
	}
}

// wait pauses, and ends with the last error when there is no time left.
func wait(ctx context.Context, pause time.Duration, last error) error {
	select {
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx), last)
	case <-time.After(pause):
		return nil
	}
}

// tend unseals every node that asks for it, as the holders of the key do: with a shamir seal, after each boot.
func (c *Cluster) tend() {
	key := string(c.Keys().UnsealKey.Reveal())
	if key == "" {
		return
	}
	for {
		for _, m := range c.members {
			client, err := c.Client(m.name)
			if err != nil {
				continue
			}
			asking, cancel := context.WithTimeout(c.ctx, requestTimeout)
			if status, err := client.Sys().SealStatusWithContext(asking); err == nil && status.Sealed && (status.Initialized || status.T > 0) {
				client.Sys().UnsealWithContext(asking, key)
			}
			cancel()
		}
		if wait(c.ctx, pace, nil) != nil {
			return
		}
	}
}

// setUp gives the cluster what every cluster should have: two audit devices, a login for the agents, and an autopilot
// that knows how many nodes there are.
func (c *Cluster) setUp(ctx context.Context, client *vault.Client) error {
	sys := client.Sys()
	if !c.isOpenBao() { // it has its devices from its configuration, and takes none through the API
		if err := enableAudit(ctx, client); err != nil {
			return err
		}
	}
	if err := sys.PutPolicyWithContext(ctx, "strongroom-agent", bootstrap.AgentPolicy); err != nil {
		return err
	}
	if err := sys.EnableAuthWithOptionsWithContext(ctx, "cert", &vault.EnableAuthOptions{Type: "cert"}); err != nil {
		return err
	}
	if _, err := client.Logical().WriteWithContext(ctx, "auth/cert/certs/"+agentRole, map[string]any{
		"certificate": string(c.authority.CA()), "allowed_dns_sans": "*.lab", "token_policies": "strongroom-agent",
		"token_no_default_policy": true, "token_ttl": "1h", "token_max_ttl": "24h",
	}); err != nil {
		return err
	}
	// Nodes that retire wait there for their turn.
	if err := sys.MountWithContext(ctx, "strongroom", &vault.MountInput{Type: "kv", Options: map[string]string{"version": "2"}}); err != nil {
		return err
	}
	return configureAutopilot(ctx, client, c.options.Nodes >= 3, max(3, c.options.Nodes))
}

// enableAudit makes two audit devices of different kinds, as the catalogue asks for.
func enableAudit(ctx context.Context, client *vault.Client) error {
	for path, options := range map[string]*vault.EnableAuditOptions{
		"file":   {Type: "file", Options: map[string]string{"file_path": "/var/log/vault/audit.log"}},
		"syslog": {Type: "syslog", Options: map[string]string{"tag": "vault"}},
	} {
		if err := client.Sys().EnableAuditWithOptionsWithContext(ctx, path, options); err != nil {
			return fmt.Errorf("audit device %s: %w", path, err)
		}
	}
	return nil
}

// configureAutopilot sets the thresholds that the catalogue asks for. Not by the client's own method: it always sends
// disable_upgrade_migration, which only Vault Enterprise knows.
func configureAutopilot(ctx context.Context, client *vault.Client, cleanup bool, minQuorum int) error {
	_, err := client.Logical().WriteWithContext(ctx, "sys/storage/raft/autopilot/configuration", map[string]any{
		"cleanup_dead_servers": cleanup, "min_quorum": minQuorum, "dead_server_last_contact_threshold": "24h",
		"last_contact_threshold": "10s", "max_trailing_logs": 1000, "server_stabilization_time": "10s",
	})
	return err
}

func (c *Cluster) isOpenBao() bool { return strings.HasPrefix(c.manifest.Profile, "openbao/") }

// Peers is what the cluster's leader says about its members. Any node that is up and hears the leader is asked.
func (c *Cluster) Peers(ctx context.Context) ([]Peer, error) {
	if !c.Keys().made() {
		return nil, errNoCluster
	}
	var peers []Peer
	err := c.ask(ctx, func(ctx context.Context, client *vault.Client) (err error) {
		peers, err = peersBy(ctx, client)
		return err
	})
	return peers, err
}

// peersBy asks with a client of one's own.
func peersBy(ctx context.Context, client *vault.Client) ([]Peer, error) {
	var data struct {
		Config struct{ Servers []Peer }
	}
	err := read(ctx, client, "sys/storage/raft/configuration", &data)
	return data.Config.Servers, err
}

// Autopilot is what the leader's autopilot says.
type Autopilot struct {
	Healthy          bool     `json:"healthy"`
	FailureTolerance int      `json:"failure_tolerance"`
	Leader           string   `json:"leader"`
	Voters           []string `json:"voters"`
}

// Autopilot asks the cluster's leader.
func (c *Cluster) Autopilot(ctx context.Context) (Autopilot, error) {
	if !c.Keys().made() {
		return Autopilot{}, errNoCluster
	}
	var state Autopilot
	err := c.ask(ctx, func(ctx context.Context, client *vault.Client) error {
		return read(ctx, client, "sys/storage/raft/autopilot/state", &state)
	})
	return state, err
}

// ask puts a question to one node after the other until one answers.
func (c *Cluster) ask(ctx context.Context, question func(context.Context, *vault.Client) error) error {
	var failures []error
	for _, m := range c.members {
		n := m.running()
		if n == nil || n.IsCut() {
			continue
		}
		client, err := c.Client(m.name)
		if err != nil {
			continue
		}
		asking, cancel := context.WithTimeout(ctx, 2*requestTimeout)
		err = question(asking, client)
		cancel()
		if err == nil {
			return nil
		}
		failures = append(failures, fmt.Errorf("%s: %w", m.name, err))
	}
	if len(failures) == 0 {
		return errors.New("no node is up")
	}
	return errors.Join(failures...)
}

func read(ctx context.Context, client *vault.Client, path string, into any) error {
	secret, err := client.Logical().ReadWithContext(ctx, path)
	if err != nil {
		return err
	}
	if secret == nil {
		return fmt.Errorf("%s: nothing there", path)
	}
	text, err := json.Marshal(secret.Data)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// peerOf finds a node among the peers, by its address.
func (m *member) peerOf(peers []Peer) (Peer, bool) {
	i := slices.IndexFunc(peers, func(p Peer) bool {
		host := p.Address
		if u, err := url.Parse("//" + p.Address); err == nil {
			host = u.Hostname()
		}
		return host == m.lease.Host() || host == m.lease.Address.String()
	})
	if i < 0 {
		return Peer{}, false
	}
	return peers[i], true
}

// AwaitMembers waits until the leader lists these nodes as voters and autopilot finds the cluster healthy.
func (c *Cluster) AwaitMembers(ctx context.Context, names ...string) error {
	waiting, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	said := ""
	for {
		missing, err := c.missing(waiting, names)
		if err == nil && len(missing) == 0 {
			state, err := c.Autopilot(waiting)
			// It looks every two seconds, and may not have counted a new voter yet.
			if err == nil && state.Healthy && len(state.Voters) >= len(names) {
				return nil
			}
			missing = []string{"a healthy autopilot"}
		}
		if text := strings.Join(missing, ", "); text != said {
			said = text
			c.options.Log.Info("waiting for the cluster", "missing", text)
		}
		if wait(waiting, pace, nil) != nil {
			return fmt.Errorf("the cluster is not complete: %w", errors.Join(context.Cause(waiting), err, fmt.Errorf("missing: %s", strings.Join(missing, ", "))))
		}
	}
}

func (c *Cluster) missing(ctx context.Context, names []string) ([]string, error) {
	peers, err := c.Peers(ctx)
	if err != nil {
		return names, err
	}
	var missing []string
	for _, name := range names {
		m, err := c.member(name)
		if err != nil {
			return nil, err
		}
		if p, ok := m.peerOf(peers); !ok || !p.Voter {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

// removePeer takes a node that is down out of the cluster. If it was the leader, the others elect one first.
func (c *Cluster) removePeer(ctx context.Context, m *member) error {
	waiting, cancel := context.WithTimeout(ctx, electionTimeout)
	defer cancel()
	for {
		err := c.tryRemovePeer(waiting, m)
		if err == nil {
			return nil
		}
		if err := wait(waiting, pace, err); err != nil {
			return fmt.Errorf("cannot take %s out of the cluster: %w", m.name, err)
		}
	}
}

// electionTimeout is far more than an election takes, also between emulated nodes.
const electionTimeout = 3 * time.Minute

func (c *Cluster) tryRemovePeer(ctx context.Context, m *member) error {
	peers, err := c.Peers(ctx)
	if err != nil {
		return err
	}
	peer, ok := m.peerOf(peers)
	if !ok {
		return nil
	}
	return c.ask(ctx, func(ctx context.Context, client *vault.Client) error {
		_, err := client.Logical().WriteWithContext(ctx, "sys/storage/raft/remove-peer", map[string]any{"server_id": peer.NodeID})
		return err
	})
}
