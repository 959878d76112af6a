// Package supervisor keeps a lab running when the command that started it has ended.
//
// `lab up` starts its own program again as a supervisor, in a session of its own, which owns network, machines and the Vault
// of the seal. They die with it, however it ends: the machines by the kernel's parent-death signal, the network with the
// process. Other commands speak to it over a socket in the state directory. Whether it lives is told by a lock in that
// directory, which the kernel takes away with it; what a crash has left there is recognised by that and removed.
package supervisor
