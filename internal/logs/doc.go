// Package logs says how the logs of a node fare: whether the audit log has room and is written, how much of the journal has not left the
// node yet, and who used a root token.
//
// It reads what others write, takes nothing for granted about it, and writes nothing.
package logs
