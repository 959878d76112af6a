package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	vault "github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/report"
)

// askTime bounds one question, to a server or to an agent.
const askTime = 10 * time.Second

// Source is whom a rollout asks. The first client reaches any member; afterwards every member is asked at the host of its Raft
// address, so that the replacement of that one member does no harm.
type Source struct {
	Client *vault.Client // with a token
	Agents *http.Client  // for the agents' telemetry ports
	// User and Password are for agents that ask for them (node.hcl: telemetry.basic_auth).
	User, Password string
	APIPort        int // of the server
	AgentPort      int

	known []string // hosts of the members that were seen last
}

type raftAnswer struct {
	Config struct {
		Servers []struct {
			NodeID  string `json:"node_id"`
			Address string `json:"address"`
			Leader  bool   `json:"leader"`
			Voter   bool   `json:"voter"`
		} `json:"servers"`
	} `json:"config"`
}

type autopilotAnswer struct {
	Tolerance int `json:"failure_tolerance"`
	Servers   map[string]struct {
		Healthy bool `json:"healthy"`
	} `json:"servers"`
}

// Look asks the cluster who is a member, and each member's agent what it runs and whether it passes. Agents that do not answer are in
// their members' Silent; a cluster that does not is an error.
func (s *Source) Look(ctx context.Context) (Cluster, error) {
	var raft raftAnswer
	var autopilot autopilotAnswer
	if err := s.ask(ctx, func(ctx context.Context, c *vault.Client) error {
		if err := read(ctx, c, "sys/storage/raft/configuration", &raft); err != nil {
			return err
		}
		return read(ctx, c, "sys/storage/raft/autopilot/state", &autopilot)
	}); err != nil {
		return Cluster{}, fmt.Errorf("cannot ask who is a member: %w", err)
	}
	c := Cluster{Tolerance: autopilot.Tolerance, Members: make([]Member, len(raft.Config.Servers))}
	s.known = s.known[:0]
	var group sync.WaitGroup
	for i, server := range raft.Config.Servers {
		host, _, err := net.SplitHostPort(server.Address)
		if err != nil || server.NodeID == "" {
			return Cluster{}, fmt.Errorf("sys/storage/raft/configuration: a member without id or address: %q at %q", server.NodeID, server.Address)
		}
		s.known = append(s.known, host)
		c.Members[i] = Member{ID: server.NodeID, Host: host, Active: server.Leader, Voter: server.Voter, Healthy: autopilot.Servers[server.NodeID].Healthy}
		group.Go(func() { s.agent(ctx, &c.Members[i]) })
	}
	group.Wait()
	return c, ctx.Err()
}

// Node asks the agent at a host, whether it is a member's or not.
func (s *Source) Node(ctx context.Context, host string) Member {
	m := Member{Host: host}
	s.agent(ctx, &m)
	return m
}

// agent asks a member's own agent.
func (s *Source) agent(ctx context.Context, m *Member) {
	document, err := s.report(ctx, m.Host)
	if err != nil {
		m.Silent = fmt.Errorf("its agent has no report: %w", err)
		return
	}
	m.Root, m.Version, m.Verdict = document.Host.RootHash, document.Host.ImageVersion, document.Verdict
	m.Image = document.Host.ImageID + " " + document.Host.ImageVersion
	for _, c := range document.Controls {
		if c.Severity == control.Must && (c.Outcome == control.Fail || c.Outcome == control.Unknown) {
			m.Failed = append(m.Failed, c.ID)
		}
	}
	if document.Stage < control.StageRun && document.Verdict == check.Pass {
		m.Silent = errors.New("its agent has not judged the running server yet")
	}
}

// report is what the agent at a host says about its node now.
func (s *Source) report(ctx context.Context, host string) (*report.Document, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+net.JoinHostPort(host, strconv.Itoa(s.AgentPort))+"/report", nil)
	if err != nil {
		return nil, err
	}
	if s.User != "" {
		request.SetBasicAuth(s.User, s.Password)
	}
	answer, err := s.Agents.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(answer.Body, 200))
		return nil, fmt.Errorf("%s: HTTP status %d: %s", request.URL, answer.StatusCode, said)
	}
	return report.ReadJSON(answer.Body)
}

// StepDown makes the active node hand over the lead.
func (s *Source) StepDown(ctx context.Context, active Member) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	c, err := s.at(active.Host)
	if err != nil {
		return err
	}
	return c.Sys().StepDownWithContext(ctx)
}

// RemovePeer takes a member out of the Raft configuration. The answer may be lost on the way: the next Look tells.
func (s *Source) RemovePeer(ctx context.Context, m Member) error {
	return s.ask(ctx, func(ctx context.Context, c *vault.Client) error {
		_, err := c.Logical().WriteWithContext(ctx, "sys/storage/raft/remove-peer", map[string]any{"server_id": m.ID})
		return err
	})
}

// ask puts a question to one member after the other until one answers it.
func (s *Source) ask(ctx context.Context, question func(context.Context, *vault.Client) error) error {
	clients := []*vault.Client{s.Client}
	for _, host := range s.known {
		if c, err := s.at(host); err == nil {
			clients = append(clients, c)
		}
	}
	var failures []error
	for _, c := range clients {
		asking, cancel := context.WithTimeout(ctx, askTime)
		err := question(asking, c)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		failures = append(failures, err)
		var refused *vault.ResponseError
		if errors.As(err, &refused) && refused.StatusCode == http.StatusForbidden {
			break // the others would say the same
		}
	}
	return errors.Join(failures...)
}

// at is a client of one member's own API.
func (s *Source) at(host string) (*vault.Client, error) {
	c, err := s.Client.CloneWithHeaders()
	if err != nil {
		return nil, err
	}
	c.SetToken(s.Client.Token())
	c.SetMaxRetries(0)
	return c, c.SetAddress("https://" + net.JoinHostPort(host, strconv.Itoa(s.APIPort)))
}

func read(ctx context.Context, c *vault.Client, path string, into any) error {
	secret, err := c.Logical().ReadWithContext(ctx, path)
	if err != nil {
		return err
	}
	if secret == nil {
		return fmt.Errorf("%s: nothing there: does it have integrated storage?", path)
	}
	text, err := json.Marshal(secret.Data)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}
