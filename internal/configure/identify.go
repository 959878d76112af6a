package configure

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/server"
)

// identify finds out what this node is called and where it is reached.
func (o Options) identify(config *node.Config, in inputs, machine node.Machine) (node.Identity, error) {
	api, apiErr := o.resolve("api_addr", config.APIAddr, node.CheckURL)
	cluster, clusterErr := o.resolve("cluster_addr", config.ClusterAddr, node.CheckClusterURL(o.Baked.ClusterPort))
	if err := errors.Join(apiErr, clusterErr); err != nil {
		return node.Identity{}, err
	}
	id, err := o.state().nodeID(machine, config.MovedFrom)
	if err != nil {
		return node.Identity{}, err
	}
	join, t := config.Join, config.Telemetry
	return node.Identity{
		NodeID: id, ClusterName: config.ClusterName, APIAddr: api, ClusterAddr: cluster,
		Seal: config.Seal.Type, CA: string(in.material.CA), Raft: config.Raft, Auth: config.Auth, Audit: auditDevices(o.Server, config.Audit),
		Bootstrap: config.Bootstrap, Snapshot: config.Snapshot, StopOnDrift: config.StopOnDrift, Retire: config.Retire,
		Join: node.Join{Leaders: in.leaders, AutoJoin: join.AutoJoin, SRV: join.SRV, Scheme: join.Scheme, Port: join.Port, ServerName: join.ServerName},
		Telemetry: node.Telemetry{
			StatsDAddress: t.StatsDAddress, DogStatsDAddr: t.DogStatsDAddr, DogStatsDTags: t.DogStatsDTags,
			DisableHostname: t.DisableHostname, MetricsPrefix: t.MetricsPrefix, BasicAuth: in.basicAuth, ClientCA: string(in.clientCA),
			OTLPEndpoint: t.OTLPEndpoint, OTLPCA: string(in.otlpCA),
		},
	}, nil
}

func (o Options) resolve(key, addr string, check func(string) error) (string, error) {
	if !node.Templated(addr) {
		return addr, nil
	}
	resolved, err := o.Resolve(addr)
	if err != nil {
		return "", fmt.Errorf("cannot resolve %s: %w", key, err)
	}
	if err := check(resolved); err != nil {
		return "", node.Hinted(fmt.Errorf("%s = %q became %q on this node: %w", key, addr, resolved, err),
			"the template found no address, or more than one; name the interface: {{ GetInterfaceIP \"eth0\" }}")
	}
	return resolved, nil
}

// auditDevices gives the two that every server has, of different kinds, because it answers nothing when it can write to
// none; with what node.hcl says of them, and what it adds. Every member of a cluster has the same ones.
func auditDevices(p server.Product, said []node.AuditDevice) []node.AuditDevice {
	devices := []node.AuditDevice{
		{Type: "file", Options: map[string]string{"file_path": p.Audit + "/audit.log"}},
		{Type: "syslog", Options: map[string]string{"tag": p.ID + "-audit"}}, // the journal takes it
	}
next:
	for _, d := range said {
		for i := range devices {
			if devices[i].Type == d.Type {
				maps.Copy(devices[i].Options, d.Options)
				continue next
			}
		}
		devices = append(devices, d)
	}
	return devices
}

// documentPath is where configure leaves the node.hcl that it has used, for its later runs: they renew what it refers to, and
// neither ask a cloud nor a server again what the node is, nor open the firewall for that.
const documentPath = "/run/hostcheck/node.hcl"

func (o Options) leaveDocument(d node.Document) error {
	path := o.path(documentPath)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("cannot leave node.hcl: %w", err)
	}
	if err := replaceFile(path, d.Content, func(f *os.File) error { return f.Chmod(0o600) }); err != nil {
		return fmt.Errorf("cannot leave node.hcl: %w", err)
	}
	return nil
}

// leftDocument gives the node.hcl of this boot.
func (o Options) leftDocument() (node.Document, error) {
	content, err := os.ReadFile(o.path(documentPath))
	if err != nil {
		return node.Document{}, fmt.Errorf("cannot read the node.hcl of this boot: %w", err)
	}
	return node.Document{Source: documentPath, Content: content}, nil
}

// leaveIdentity writes what the agent reads. It names users and roles: root alone reads it.
func (o Options) leaveIdentity(id node.Identity) error {
	content, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return err
	}
	path := o.path(node.IdentityPath)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("cannot leave the node's identity: %w", err)
	}
	if err := replaceFile(path, append(content, '\n'), func(f *os.File) error { return f.Chmod(0o600) }); err != nil {
		return fmt.Errorf("cannot leave the node's identity: %w", err)
	}
	return nil
}
