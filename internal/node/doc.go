// Package node says who this node is: node.hcl, the operator's half of the configuration, and
// the TLS material that comes with it. Both arrive as systemd credentials and are judged here
// before anything acts on them: strictly, all mistakes at once, each with its line and the way
// out. The package reads; internal/configure writes.
package node
