package node

// IdentityPath is where configure leaves the node's [Identity] for the agent.
const IdentityPath = "/run/hostcheck/node.json"

// AgentTLS is the directory in which configure leaves the node's TLS material for the agent: tls.crt, tls.key and ca.crt,
// replaced all at once when they are renewed.
const AgentTLS = "/run/hostcheck/tls"

// Identity is what this node is: node.hcl with its templates expanded, its references read and its id found. It holds no
// secret, only what names one (a role, a mount).
type Identity struct {
	NodeID      string    `json:"node_id"`
	ClusterName string    `json:"cluster_name"`
	APIAddr     string    `json:"api_addr"`     // URL
	ClusterAddr string    `json:"cluster_addr"` // URL
	Seal        string    `json:"seal"`         // "shamir", "transit", "awskms", …
	CA          string    `json:"ca"`           // PEM: the authorities that the cluster believes
	Join        Join      `json:"join"`
	Raft        Raft      `json:"raft"`
	Auth        *Auth     `json:"auth,omitempty"` // nil: the credential strongroom.agent.token, if there is one
	Telemetry   Telemetry `json:"telemetry"`
	Snapshot    *Snapshot `json:"snapshot,omitempty"` // nil: nobody takes one
	// Audit are the devices that every member of the cluster has. OpenBao finds them in its configuration; on Vault they are made
	// through the API.
	Audit     []AuditDevice `json:"audit"`
	Bootstrap *Bootstrap    `json:"bootstrap,omitempty"` // nil: this node initialises no cluster
	Retire    []Retire      `json:"retire,omitempty"`    // who says that this machine goes for good
	// StopOnDrift says that the agent stops the server when a must control fails on the running node and the cluster can lose it.
	StopOnDrift bool `json:"stop_on_drift,omitempty"`
}

// Join says where the members of the cluster are looked for. All that is given is tried; without anything the node
// belongs to a cluster of its own.
type Join struct {
	Leaders  []Leader `json:"leaders,omitempty"`
	AutoJoin string   `json:"auto_join,omitempty"` // of go-discover: "provider=aws tag_key=…"
	SRV      string   `json:"srv,omitempty"`       // name of DNS SRV records: "_vault._tcp.example.net"
	// For members that AutoJoin or SRV found.
	Scheme     string `json:"scheme,omitempty"`      // "https"
	Port       int    `json:"port,omitempty"`        // of AutoJoin; SRV records have their own
	ServerName string `json:"server_name,omitempty"` // that their certificates must have; empty: the address that was found
}

// Leader is a member that is known by its address.
type Leader struct {
	Address    string `json:"address"`               // URL of its API
	ServerName string `json:"server_name,omitempty"` // that its certificate must have; empty: the host of Address
	CA         string `json:"ca,omitempty"`          // PEM; empty: Identity.CA
}

// Auth is how the agent gets its token from the server.
type Auth struct {
	Method string `json:"method"` // "cert": a login with the node's own certificate
	Mount  string `json:"mount"`  // "cert"
	Role   string `json:"role"`   // "strongroom-node"
}

// Telemetry is where figures are sent, and who may scrape them. The names are those of Vault's own telemetry stanza.
type Telemetry struct {
	StatsDAddress   string   `json:"statsd_address,omitempty"` // host:port, UDP
	DogStatsDAddr   string   `json:"dogstatsd_addr,omitempty"` // host:port, UDP
	DogStatsDTags   []string `json:"dogstatsd_tags,omitempty"` // "env:prod"
	DisableHostname bool     `json:"disable_hostname,omitempty"`
	MetricsPrefix   string   `json:"metrics_prefix,omitempty"`
	// BasicAuth are the users of /metrics and /report: name → bcrypt hash. Empty: the firewall alone decides.
	BasicAuth map[string]string `json:"basic_auth,omitempty"`
	// ClientCA are the authorities of scrapers' certificates, PEM. Empty: none is asked for.
	ClientCA string `json:"client_ca,omitempty"`
	// OTLPEndpoint is where metrics and journal entries are sent: "https://collector.example.net:4318". Empty: nowhere.
	OTLPEndpoint string `json:"otlp_endpoint,omitempty"`
	// OTLPCA are the authorities of its certificate, PEM. Empty: Identity.CA.
	OTLPCA string `json:"otlp_ca,omitempty"`
}
