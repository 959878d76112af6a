//go:build manual

package main

import "github.com/strongroom/strongroom/internal/manual"

// With the tag manual the program does one thing: it writes its manual pages. The program that is installed has none of this in it.
func main() { manual.Main(newRootCommand()) }
