//go:build boot && !slow

package lab

// everything says whether the cases that `make test` has no time for are run too.
const everything = false
