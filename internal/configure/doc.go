// Package configure turns what the node was handed (internal/node) into what its services
// read: the server's configuration and TLS files below /run, the elements of the firewall's sets,
// and the node's own identity on the data partition. It is the only writer on the node, and it
// judges nothing: what it wrote is judged by the gate like everything else.
package configure
