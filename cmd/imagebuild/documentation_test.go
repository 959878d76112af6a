package main

import (
	"flag"
	"testing"

	"github.com/strongroom/strongroom/internal/docstest"
)

var update = flag.Bool("update", false, "write the reference of the commands again")

var program = docstest.Program{Name: "imagebuild", Root: newRootCommand}

// What the documentation tells to type, the program takes.
func TestDocumentedCommands(t *testing.T) { program.Documented(t, "../..") }

func TestHelpTeaches(t *testing.T) { docstest.Teaches(t, newRootCommand()) }

func TestCommandReference(t *testing.T) {
	docstest.CheckReference(t, newRootCommand(), "../../docs/reference/imagebuild.md", *update)
}

// A shell is told what flags take.
func TestCompletion(t *testing.T) {
	program.Completes(t, map[string]string{"report --format": "oscal", "inspect --format": "json", "diff --format": "json", "verify --format": "json"})
}
