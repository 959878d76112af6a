package bootstrap

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/cluster"
	"github.com/strongroom/strongroom/internal/node"
)

//go:embed policies/*.hcl
var policyFiles embed.FS

// AgentPolicy is what the agents may, as docs/node.md has it: it is generated from there.
//
//go:embed policies/strongroom-agent.hcl
var AgentPolicy string

// Policies are what the cluster has of them in the end, by the server's names.
var policyNames = []string{"strongroom-admin", "strongroom-agent", "strongroom-break-glass", "strongroom-provisioner"}

// snapshotPolicy is written where node.hcl has a snapshot block.
const snapshotPolicy = "strongroom-snapshot"

// allPolicies are those that this cluster has.
func (r *run) allPolicies() []string {
	if r.Identity.Snapshot == nil {
		return policyNames
	}
	return append(slices.Clone(policyNames), snapshotPolicy)
}

// snapshot takes the first one, as a node that has nothing but its certificate: so it also proves that the next ones can be taken.
func (r *run) snapshot(ctx context.Context) error {
	if r.Snapshot == nil {
		return nil
	}
	return r.Snapshot(ctx)
}

// policyOf is the server's name of a policy of node.hcl.
func policyOf(name string) string { return "strongroom-" + name }

// agentAuth is how the agents log in.
func (r *run) agentAuth() node.Auth {
	if r.Identity.Auth != nil {
		return *r.Identity.Auth
	}
	return node.Auth{Method: "cert", Mount: "cert", Role: "strongroom-node"}
}

// auth enables the method by which nodes and people log in: with a certificate.
func (r *run) auth(ctx context.Context) error {
	mount := strings.Trim(r.agentAuth().Mount, "/")
	var there struct {
		Data map[string]struct {
			Type string `json:"type"`
		} `json:"data"`
	}
	if err := r.asRoot(ctx, http.MethodGet, "sys/auth", nil, &there); err != nil {
		return err
	}
	if old, ok := there.Data[mount+"/"]; ok {
		if old.Type != "cert" {
			return fmt.Errorf("auth/%s is of type %s already", mount, old.Type)
		}
		return nil
	}
	return r.asRoot(ctx, http.MethodPost, "sys/auth/"+mount, map[string]any{"type": "cert", "description": "nodes and people, by certificate"}, nil)
}

// policies writes the policies and the roles that have them.
func (r *run) policies(ctx context.Context) error {
	for _, name := range r.allPolicies() {
		text, err := policyFiles.ReadFile("policies/" + name + ".hcl")
		if err != nil {
			return err
		}
		path := "sys/policies/acl/" + name
		if err := r.asRoot(ctx, http.MethodPut, path, map[string]string{"policy": string(text)}, nil); err != nil {
			return err
		}
		var back struct {
			Data struct {
				Policy string `json:"policy"`
			} `json:"data"`
		}
		if err := r.asRoot(ctx, http.MethodGet, path, nil, &back); err != nil {
			return err
		}
		if back.Data.Policy != string(text) {
			return fmt.Errorf("the server does not have the policy %s that it was given", name)
		}
	}
	if err := r.reached("policies: written"); err != nil {
		return err
	}
	auth := r.agentAuth()
	if err := r.role(ctx, auth.Role, r.Identity.CA, r.config.Nodes, "strongroom-agent", "1h", "24h"); err != nil {
		return err
	}
	if s := r.Identity.Snapshot; s != nil {
		if err := r.role(ctx, s.Role, r.Identity.CA, r.config.Nodes, snapshotPolicy, "5h", "5h"); err != nil {
			return err
		}
	}
	for _, l := range r.config.Logins {
		ca := r.Identity.CA
		if l.CA != "" {
			b, err := r.Read(ctx, l.CA)
			if err != nil {
				return err
			}
			ca = string(b)
		}
		if err := r.role(ctx, l.Name, ca, l.Names, policyOf(l.Policy), "30m", "8h"); err != nil {
			return err
		}
	}
	return nil
}

// role admits certificates of an authority with one of these names.
func (r *run) role(ctx context.Context, name, ca string, names []string, policy, ttl, longest string) error {
	request := map[string]any{
		"certificate": ca, "allowed_dns_sans": names, "token_policies": []string{policy}, "token_no_default_policy": true,
		"token_ttl": ttl, "token_max_ttl": longest, "display_name": name,
	}
	return r.asRoot(ctx, http.MethodPost, "auth/"+strings.Trim(r.agentAuth().Mount, "/")+"/certs/"+name, request, nil)
}

// login proves that a node gets in with its certificate, sees the cluster, and may not change who may do what.
func (r *run) login(ctx context.Context) error {
	session := r.agentSession()
	if err := r.Server.Keep(ctx, session); err != nil {
		return node.Hinted(err, "does the certificate of this node have one of the names of bootstrap.nodes?")
	}
	members, err := r.Server.Members(ctx, session)
	if err != nil {
		return fmt.Errorf("the agent's login cannot read who is a member: %s", cluster.Words(err))
	}
	here := false
	for _, m := range members {
		here = here || m.ID == r.Identity.NodeID
	}
	if !here {
		return errors.New("the agent's login does not find this node among the members")
	}
	err = r.Server.Ask(ctx, http.MethodGet, "sys/policies/acl/strongroom-admin", nil, session.Reveal(), nil, nil)
	if cluster.StatusOf(err) != http.StatusForbidden {
		return fmt.Errorf("the agent's login may read policies: %v", err)
	}
	r.state.Members = len(members)
	return nil
}

// agentSession is that of this node's agent.
func (r *run) agentSession() *cluster.Session {
	if r.session == nil {
		auth := r.agentAuth()
		r.session = cluster.NewSession(node.Secret{}, func() *node.Auth { return &auth }, r.Certificate)
	}
	return r.session
}
