// Package cluster brings a node into its cluster and takes it out: `hostcheck join` and `hostcheck leave`. Both are
// explicit state machines over the server's API, Vault's or OpenBao's. What has been reached is asked of the servers at each
// step and not remembered, so that a crash at any point is followed by the same questions and the right next
// step. docs/join.md has the diagram.
package cluster
