package house

import (
	"flag"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/hostcheck-modules.txt")

// TestHostcheckModules holds the list of modules whose code is in hostcheck. The program runs on every node, before
// and beside the server, and its memory is mostly its own code: a module that comes in by way of another, such as a
// cloud's SDK or a tracing library, is to be seen by somebody.
func TestHostcheckModules(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", module+"cmd/hostcheck")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	linked := strings.Fields(string(out))
	slices.Sort(linked)
	linked = slices.Compact(linked)

	const file = "testdata/hostcheck-modules.txt"
	const head = "# Modules whose code is in hostcheck, besides Go's own library.\n"
	if *update {
		if err := os.WriteFile(file, []byte(head+strings.Join(linked, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	listed := strings.Fields(strings.TrimPrefix(string(b), head))
	wrong := false
	for _, m := range linked {
		if !slices.Contains(listed, m) {
			wrong = true
			t.Errorf("%s is new in hostcheck: go mod why -m %[1]s", m)
		}
	}
	for _, m := range listed {
		if !slices.Contains(linked, m) {
			wrong = true
			t.Errorf("%s is not in hostcheck any more", m)
		}
	}
	if wrong {
		t.Log("when that is meant, after a look at what it costs (size, GODEBUG=inittrace=1, memory of verify and run): go test ./internal/house -run TestHostcheckModules -update")
	}
}
