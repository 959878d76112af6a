package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// Member is one server of the Raft configuration.
type Member struct {
	ID      string `json:"node_id"`
	Address string `json:"address"` // host:port of Raft
	Leader  bool   `json:"leader"`
	Voter   bool   `json:"voter"`
}

// configurationAnswer is that of sys/storage/raft/configuration.
type configurationAnswer struct {
	Data struct {
		Config struct {
			Servers []Member `json:"servers"`
		} `json:"config"`
	} `json:"data"`
}

// parseConfiguration gives the servers of an answer that makes sense.
func parseConfiguration(b []byte) ([]Member, error) {
	var a configurationAnswer
	if err := json.Unmarshal(b, &a); err != nil {
		return nil, fmt.Errorf("sys/storage/raft/configuration: cannot read the answer: %w", err)
	}
	if len(a.Data.Config.Servers) == 0 {
		return nil, errors.New("sys/storage/raft/configuration: the answer has no servers")
	}
	for _, m := range a.Data.Config.Servers {
		if m.ID == "" || m.Address == "" {
			return nil, errors.New("sys/storage/raft/configuration: a server has no id or no address")
		}
	}
	return a.Data.Config.Servers, nil
}

// configuration asks who is a member. A standby hands the question to the active node.
func configuration(ctx context.Context, c *client, session *Session) ([]Member, error) {
	var answer json.RawMessage
	if err := c.ask(ctx, http.MethodGet, "sys/storage/raft/configuration", session.Reveal(), nil, &answer); err != nil {
		return nil, err
	}
	return parseConfiguration(answer)
}

// autopilotAnswer is that of sys/storage/raft/autopilot/state.
type autopilotAnswer struct {
	Data struct {
		Tolerance int `json:"failure_tolerance"`
		Servers   map[string]struct {
			Healthy bool `json:"healthy"`
		} `json:"servers"`
	} `json:"data"`
}
