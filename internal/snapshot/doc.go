// Package snapshot backs up a cluster: an archive is taken of the active node as a stream, verified on its way, encrypted, and put to
// sinks, from where it is read back. Only then it counts. docs/snapshot.md is for operators.
package snapshot
