package bootstrap

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"path/filepath"
	"time"
)

// ReportSchema names the form of the report.
const ReportSchema = "strongroom.bootstrap/v1"

// Report says what a first start has come to. It holds no secret, and nothing that opens one.
type Report struct {
	Schema      string     `json:"schema"`
	Cluster     string     `json:"cluster"`
	ClusterID   string     `json:"cluster_id"`
	Node        string     `json:"node"`
	Server      string     `json:"server"`  // "vault", "openbao"
	Version     string     `json:"version"` // of the server
	Seal        string     `json:"seal"`
	Began       time.Time  `json:"began"`
	Finished    time.Time  `json:"finished"`
	Threshold   int        `json:"threshold"`
	Delivered   []Delivery `json:"delivered"`
	Audit       []string   `json:"audit"` // kinds of the devices
	Auth        string     `json:"auth"`  // mount of the method
	Policies    []Policy   `json:"policies"`
	Roles       []Role     `json:"roles"`
	Login       Login      `json:"login"`
	RootRevoked time.Time  `json:"root_revoked"`
	Steps       []Step     `json:"steps"`
}

// Policy is one that was written and read back.
type Policy struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

// Role is one of the auth method.
type Role struct {
	Name   string   `json:"name"`
	Policy string   `json:"policy"`
	Names  []string `json:"names"` // that certificates must have
}

// Login is the one that was proven.
type Login struct {
	Role    string `json:"role"`
	Members int    `json:"members"` // of the cluster, as it saw them
}

// finish leaves the report, and then marks the first start as over.
func (r *run) finish(context.Context) error {
	now := r.now()
	auth := r.agentAuth()
	report := Report{
		Schema: ReportSchema, Cluster: r.Identity.ClusterName, ClusterID: r.state.ClusterID, Node: r.state.NodeID, Server: r.Product, Version: r.state.Version,
		Seal: r.state.Seal, Began: r.state.Began, Finished: now, Threshold: r.config.Threshold, Delivered: r.state.Delivered, Audit: r.state.Audit,
		Auth: auth.Mount, Login: Login{auth.Role, r.state.Members}, Steps: r.state.Steps,
		Roles: []Role{{auth.Role, "strongroom-agent", r.config.Nodes}},
	}
	if s := r.Identity.Snapshot; s != nil {
		report.Roles = append(report.Roles, Role{s.Role, snapshotPolicy, r.config.Nodes})
	}
	for _, l := range r.config.Logins {
		report.Roles = append(report.Roles, Role{l.Name, policyOf(l.Policy), l.Names})
	}
	for _, name := range r.allPolicies() {
		text, err := policyFiles.ReadFile("policies/" + name + ".hcl")
		if err != nil {
			return err
		}
		sum := sha256.Sum256(text)
		report.Policies = append(report.Policies, Policy{name, hex.EncodeToString(sum[:])})
	}
	for _, s := range r.state.Steps {
		if s.Name == "revoke" {
			report.RootRevoked = s.At
		}
	}
	b, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(r.Directory, reportFile)
	if err := keep(path, append(b, '\n')); err != nil {
		return err
	}
	if err := r.reached("report: written"); err != nil {
		return err
	}
	r.state.Finished = &now
	r.state.Wrapped = nil
	if err := r.save(); err != nil {
		return err
	}
	r.Said("the cluster is started; the report is " + path)
	return nil
}
