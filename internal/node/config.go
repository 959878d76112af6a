package node

import (
	"reflect"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Config is node.hcl, decoded and checked. It holds no secret: where one is needed it has a [Reference].
type Config struct {
	ClusterName string
	APIAddr     string // URL; may hold a go-sockaddr template
	ClusterAddr string // URL; may hold a go-sockaddr template
	StopOnDrift bool   // the server does not run on when a must control fails, if the cluster can lose it
	MovedFrom   string // one of the names of the machine that the data partition was made on; usually empty
	Join        JoinConfig
	Raft        Raft
	Seal        Seal
	TLS         TLSReferences
	Auth        *Auth // nil: the credential strongroom.agent.token, if there is one
	Telemetry   TelemetryConfig
	Recovery    Recovery
	Snapshot    *Snapshot     // nil: nobody takes one
	Audit       []AuditDevice // in the order of the file
	Logs        *Logs         // nil: the journal stays on the node
	Retire      []Retire      // in the order of the file; empty: nobody takes this node out by itself
	Firewall    Firewall
	Bootstrap   *Bootstrap // nil: this node initialises no cluster
}

// maxConfigSize bounds the parser's work; a node.hcl with a thousand networks has 30 KiB.
const maxConfigSize = 64 << 10

// fileSpec is the file's shape in HCL's own terms. Its tags are the list of known keys.
type fileSpec struct {
	Cluster     clusterSpec    `hcl:"cluster,block"`
	APIAddr     string         `hcl:"api_addr"`
	ClusterAddr string         `hcl:"cluster_addr"`
	MemoryLock  string         `hcl:"memory_lock,optional"`
	MovedFrom   string         `hcl:"moved_from,optional"`
	OnDrift     string         `hcl:"on_drift,optional"`
	Join        *joinSpec      `hcl:"join,block"`
	Raft        *raftSpec      `hcl:"raft,block"`
	Seal        *sealSpec      `hcl:"seal,block"`
	TLS         *tlsSpec       `hcl:"tls,block"`
	Auth        *authSpec      `hcl:"auth,block"`
	Telemetry   *telemetrySpec `hcl:"telemetry,block"`
	Recovery    *recoverySpec  `hcl:"recovery,block"`
	Snapshot    *snapshotSpec  `hcl:"snapshot,block"`
	Audit       []auditSpec    `hcl:"audit,block"`
	Logs        *logsSpec      `hcl:"logs,block"`
	Retire      []retireSpec   `hcl:"retire,block"`
	Firewall    firewallSpec   `hcl:"firewall,block"`
	Bootstrap   *bootstrapSpec `hcl:"bootstrap,block"`
}

type clusterSpec struct {
	Name string `hcl:"name"`
}

// Parse decodes node.hcl for an image. The name is used in messages only. A returned error that is about the content is a
// Mistakes, and repeats no value of a place where a secret may stand.
func Parse(name string, src []byte, image Image) (*Config, error) {
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
	shape := reflect.TypeFor[fileSpec]()
	refuseUnknown(body, shape, &wrong)
	refused := refuseExpressions(body, shape, &wrong)

	var spec fileSpec
	for _, d := range decode(body, reflect.ValueOf(&spec).Elem()) {
		if !insideAny(d.Subject, refused) {
			wrong.addDiagnostics(name, hcl.Diagnostics{d})
		}
	}
	config := check(spec, locator{name, body}, image, &wrong)
	if err := wrong.orNil(); err != nil {
		return nil, err
	}
	return config, nil
}
