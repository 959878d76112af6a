package node

import (
	"net/netip"
	"reflect"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Config is node.hcl, decoded and checked.
type Config struct {
	ClusterName string
	APIAddr     string // URL; may hold a go-sockaddr template
	ClusterAddr string // URL; may hold a go-sockaddr template
	Seal        string // "shamir"
	Firewall    Firewall
}

// Firewall says which addresses may talk to the node, and to which it may talk.
type Firewall struct {
	APIClients    []netip.Prefix // may reach Vault's API
	ClusterPeers  []netip.Prefix // the other Raft members, both ways
	Monitoring    []netip.Prefix // may reach the telemetry port
	LoadBalancers []netip.Prefix // may reach the API and the health endpoints
	Egress        []netip.Prefix // may be reached beyond the bootstrap services
}

// maxConfigSize bounds the parser's work; a node.hcl with a thousand networks has 30 KiB.
const maxConfigSize = 64 << 10

// fileSpec is the file's shape in HCL's own terms. Its tags are the list of known keys.
type fileSpec struct {
	Cluster     clusterSpec  `hcl:"cluster,block"`
	APIAddr     string       `hcl:"api_addr"`
	ClusterAddr string       `hcl:"cluster_addr"`
	Seal        *sealSpec    `hcl:"seal,block"`
	Firewall    firewallSpec `hcl:"firewall,block"`
}

type clusterSpec struct {
	Name string `hcl:"name"`
}

type sealSpec struct {
	Type string `hcl:"type,label"`
}

type firewallSpec struct {
	APIClients    []string `hcl:"api_clients,optional"`
	ClusterPeers  []string `hcl:"cluster_peers,optional"`
	Monitoring    []string `hcl:"monitoring,optional"`
	LoadBalancers []string `hcl:"load_balancers,optional"`
	Egress        []string `hcl:"egress,optional"`
}

// Parse decodes node.hcl for an image whose Raft listens on clusterPort. The name is used in messages only. A
// returned error that is about the content is a Mistakes.
func Parse(name string, src []byte, clusterPort int) (*Config, error) {
	var wrong Mistakes
	if len(src) > maxConfigSize {
		wrong.add(hcl.Range{Filename: name, Start: hcl.InitialPos}, "networks can be merged into larger ones",
			"the file has %d bytes, more than %d", len(src), maxConfigSize)
		return nil, wrong
	}
	if at, deep := tooDeep(name, src); deep {
		wrong.add(at, "no value of node.hcl has more than two levels", "brackets are nested too deeply")
		return nil, wrong
	}
	file, diags := hclsyntax.ParseConfig(src, name, hcl.InitialPos)
	if diags.HasErrors() {
		wrong.addDiagnostics(name, diags)
		return nil, wrong.orNil()
	}
	body := file.Body.(*hclsyntax.Body)
	refuseUnknown(body, reflect.TypeFor[fileSpec](), &wrong)
	refused := refuseExpressions(body, &wrong)

	var spec fileSpec
	for _, d := range gohcl.DecodeBody(body, nil, &spec) {
		if !insideAny(d.Subject, refused) {
			wrong.addDiagnostics(name, hcl.Diagnostics{d})
		}
	}
	config := check(spec, locator{name, body}, clusterPort, &wrong)
	if err := wrong.orNil(); err != nil {
		return nil, err
	}
	return config, nil
}
