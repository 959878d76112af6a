package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/strongroom/strongroom/internal/node"
)

// auditAnswer is that of sys/audit.
type auditAnswer struct {
	Data map[string]struct {
		Type string `json:"type"`
	} `json:"data"`
}

// audit makes the devices of node.hcl, before anything else is changed in the cluster. OpenBao has them from its configuration.
func (r *run) audit(ctx context.Context) error {
	for _, d := range r.Identity.Audit {
		if r.Product == "openbao" {
			break
		}
		var there auditAnswer
		if err := r.asRoot(ctx, http.MethodGet, "sys/audit", nil, &there); err != nil {
			return err
		}
		if old, ok := there.Data[d.Type+"/"]; ok && old.Type == d.Type {
			continue
		}
		request := map[string]any{"type": d.Type, "description": "strongroom", "options": d.Options}
		if err := r.asRoot(ctx, http.MethodPut, "sys/audit/"+d.Type, request, nil); err != nil {
			return err
		}
		if err := r.reached("audit: " + d.Type); err != nil {
			return err
		}
	}
	var there auditAnswer
	if err := r.asRoot(ctx, http.MethodGet, "sys/audit", nil, &there); err != nil {
		return err
	}
	var kinds []string
	for _, d := range there.Data {
		if !slices.Contains(kinds, d.Type) {
			kinds = append(kinds, d.Type)
		}
	}
	slices.Sort(kinds)
	if len(kinds) < 2 {
		return node.Hinted(fmt.Errorf("the server has audit devices of the kinds %v, and two different ones are needed", kinds), "look at the audit blocks of node.hcl")
	}
	r.state.Audit = kinds
	return nil
}

// autopilot sets how Raft looks after its members, and reads it back.
func (r *run) autopilot(ctx context.Context) error {
	const path = "sys/storage/raft/autopilot/configuration"
	a := r.config.Autopilot
	request := map[string]any{"cleanup_dead_servers": a.CleanupDeadServers, "dead_server_last_contact_threshold": a.DeadAfter.String(), "min_quorum": a.MinQuorum}
	if err := r.asRoot(ctx, http.MethodPost, path, request, nil); err != nil {
		return err
	}
	var set struct {
		Data struct {
			Cleanup   bool `json:"cleanup_dead_servers"`
			MinQuorum int  `json:"min_quorum"`
		} `json:"data"`
	}
	if err := r.asRoot(ctx, http.MethodGet, path, nil, &set); err != nil {
		return err
	}
	if set.Data.Cleanup != a.CleanupDeadServers || set.Data.MinQuorum != a.MinQuorum {
		return errors.New("the server does not say of autopilot what it was told")
	}
	return nil
}
