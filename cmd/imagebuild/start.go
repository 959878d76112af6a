//go:build !manual

package main

import "os"

func main() {
	keepDescriptors()
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}
