// Package telemetry carries the verdict out of the node: metrics and the report over HTTP,
// structured entries in the journal, and the service's state to systemd. It decides nothing:
// it shows what the agent posts.
package telemetry
