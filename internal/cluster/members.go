package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/vault/api"
)

// Member is one server of the Raft configuration.
type Member struct {
	ID      string
	Address string // host:port of Raft
	Leader  bool
	Voter   bool
}

// configuration asks who is a member. A standby hands the question to the active node.
func configuration(ctx context.Context, client *api.Client, session *Session) ([]Member, error) {
	secret, err := withToken(client, session.Reveal()).Logical().ReadWithContext(ctx, "sys/storage/raft/configuration")
	if err != nil {
		return nil, err
	}
	if secret == nil {
		return nil, errors.New("sys/storage/raft/configuration: no answer")
	}
	return parseConfiguration(secret.Data)
}

func parseConfiguration(data map[string]any) ([]Member, error) {
	config, _ := data["config"].(map[string]any)
	servers, ok := config["servers"].([]any)
	if !ok {
		return nil, errors.New("sys/storage/raft/configuration: the answer has no servers")
	}
	var members []Member
	for _, s := range servers {
		server, _ := s.(map[string]any)
		var m Member
		m.ID, _ = server["node_id"].(string)
		m.Address, _ = server["address"].(string)
		m.Leader, _ = server["leader"].(bool)
		m.Voter, _ = server["voter"].(bool)
		if m.ID == "" || m.Address == "" {
			return nil, fmt.Errorf("sys/storage/raft/configuration: a server has no id or no address")
		}
		members = append(members, m)
	}
	return members, nil
}
