// Package rehearse restores a snapshot in a throw-away server and says what came of it. It is for the machine of an operator, or a job, that has the
// private key of a recipient and a program of the server; a node has neither.
package rehearse
