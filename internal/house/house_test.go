// Package house holds the rules of the tree that no compiler knows, as tests.
package house

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/strongroom/strongroom/"

// layers says what each package may import of ours. Arrows point down only, so a package that is
// not listed for another is forbidden to it.
var layers = map[string][]string{
	"internal/atomicfile":      {},
	"internal/digest":          {},
	"internal/strictjson":      {},
	"internal/serverapi":       {},
	"internal/host":            {"internal/serverapi", "internal/strictjson"},
	"internal/overlay":         {},
	"internal/control":         {"internal/host", "internal/overlay"},
	"internal/attest":          {"internal/strictjson"},
	"internal/attest/appraise": {"internal/attest", "internal/check", "internal/measure", "internal/report"},
	"internal/resource":        {"internal/control", "internal/host", "internal/overlay"},
	"internal/server":          {},
	"internal/distribution":    {},
	"internal/baseline":        {"internal/control", "internal/distribution", "internal/overlay", "internal/resource", "internal/server", "internal/signature", "internal/strictjson"},
	"systemd":                  {},
	"hardening":                {"internal/baseline", "systemd"},
	"internal/check":           {"internal/baseline", "internal/control", "internal/host", "internal/overlay"},
	"internal/manual":          {},
	"internal/page":            {},
	"internal/report":          {"internal/check", "internal/control", "internal/page"},
	"internal/node":            {},
	"internal/release":         {"internal/sign"},
	"internal/launch":          {"internal/digest", "internal/node"},
	"internal/launch/aws":      {"internal/launch"},
	"internal/launch/azure":    {"internal/launch"},
	"internal/launch/gcp":      {"internal/launch"},
	"internal/configure":       {"internal/node", "internal/server"},
	"internal/telemetry":       {"internal/atomicfile", "internal/attest", "internal/check", "internal/control", "internal/report"},
	"internal/cluster":         {"internal/atomicfile", "internal/node", "internal/serverapi"},
	"internal/bootstrap":       {"internal/atomicfile", "internal/cloudapi", "internal/cluster", "internal/node", "internal/sigv4", "internal/snapshot"},
	"internal/sigv4":           {"internal/node"},
	"internal/cloudapi":        {"internal/node"},
	"internal/snapshot":        {"internal/atomicfile", "internal/cloudapi", "internal/cluster", "internal/node", "internal/sigv4"},
	"internal/retire":          {"internal/cloudapi", "internal/discover", "internal/node", "internal/serverapi", "internal/sigv4"},
	"internal/discover":        {"internal/cloudapi", "internal/node", "internal/serverapi", "internal/sigv4"},
	"internal/logs":            {"internal/atomicfile", "internal/strictjson"},
	"internal/agent":           {"internal/attest", "internal/baseline", "internal/check", "internal/cluster", "internal/control", "internal/host", "internal/logs", "internal/node", "internal/report", "internal/retire", "internal/server", "internal/snapshot", "internal/telemetry", "internal/serverapi", "internal/watch"},
	"internal/watch":           {"internal/host"},
	"internal/datadisk":        {},
	"internal/install":         {"internal/datadisk"},
	"internal/leaks":           {"internal/atomicfile", "internal/host"},
	"internal/netboot":         {"internal/digest", "internal/sign", "internal/strictjson"},
	"internal/lock":            {"internal/atomicfile", "internal/strictjson"},
	"internal/sbom":            {},
	"internal/image":           {"internal/baseline", "internal/datadisk", "internal/digest", "internal/install", "internal/leaks", "internal/lock", "internal/measure", "internal/netboot", "internal/overlay", "internal/sbom", "internal/secureboot"},
	"internal/harden":          {"internal/distribution", "internal/image", "internal/overlay"},
	"internal/metal":           {"internal/atomicfile", "internal/distribution", "internal/harden", "internal/image", "internal/sign"},
	"internal/lab":             {"internal/atomicfile", "internal/bootstrap", "internal/check", "internal/control", "internal/image", "internal/lab/network", "internal/node", "internal/report", "internal/secureboot"},
	"internal/plugin":          {"internal/atomicfile", "internal/baseline", "internal/digest", "internal/check", "internal/control", "internal/distribution", "internal/harden", "internal/image", "internal/lab", "internal/launch", "internal/launch/aws", "internal/launch/azure", "internal/launch/gcp", "internal/leaks", "internal/measure", "internal/metal", "internal/overlay", "internal/release", "internal/report", "internal/secureboot", "internal/server", "internal/sign", "internal/signature", "internal/statement", "internal/agentbinary"},
	"cmd/hostcheck": {"internal/atomicfile", "internal/agent", "internal/attest", "internal/baseline", "internal/bootstrap", "internal/check", "internal/cluster", "internal/configure", "internal/control", "internal/datadisk", "internal/discover", "internal/host",
		"internal/install", "internal/logs", "internal/node", "internal/report", "internal/retire", "internal/server", "internal/serverapi", "internal/sigv4", "internal/snapshot", "internal/telemetry", "internal/watch"},
	"cmd/imagebuild": {"internal/atomicfile", "internal/fleet", "internal/lock", "internal/leaks", "internal/inspect", "internal/secureboot", "internal/attest", "internal/attest/appraise", "internal/measure", "internal/netboot", "hardening", "internal/baseline", "internal/control", "internal/image", "internal/lab", "internal/lab/supervisor", "internal/overlay", "internal/plugin", "internal/report",
		"internal/resource", "internal/rollout", "internal/overlayfile", "internal/sign", "internal/signature", "internal/statement", "internal/distribution", "internal/harden", "internal/metal", "internal/node", "internal/rehearse", "internal/server", "internal/snapshot"},
	"internal/fleet":                     {"internal/control", "internal/page", "internal/report"},
	"internal/rehearse":                  {"internal/digest", "internal/node", "internal/snapshot"},
	"internal/rollout":                   {"internal/check", "internal/control", "internal/report"},
	"internal/lab/network":               {},
	"internal/inspect":                   {"internal/baseline", "internal/check", "internal/control", "internal/digest", "internal/distribution", "internal/host", "internal/inspect/disk", "internal/inspect/fat", "internal/inspect/gpt", "internal/inspect/squashfs", "internal/inspect/verity", "internal/leaks", "internal/measure", "internal/netboot", "internal/overlay", "internal/sbom", "internal/secureboot"},
	"internal/inspect/disk":              {},
	"internal/inspect/fat":               {},
	"internal/inspect/gpt":               {},
	"internal/inspect/squashfs":          {},
	"internal/inspect/verity":            {},
	"internal/overlayfile":               {"internal/atomicfile", "internal/overlay", "internal/sign"},
	"internal/sign":                      {"internal/signature"},
	"internal/signature":                 {},
	"internal/statement":                 {"internal/digest", "internal/measure", "internal/report", "internal/check", "internal/sbom", "internal/signature", "internal/strictjson"},
	"internal/secureboot":                {},
	"internal/secureboot/secureboottest": {},
	"internal/measure":                   {"internal/strictjson"},
	"internal/agentbinary":               {"internal/atomicfile"},
	"internal/lab/supervisor":            {"internal/lab"},
	"tools/dashboard":                    {},
	"tools/kinds":                        {"hardening", "internal/baseline", "internal/control", "internal/resource"},
	// For tests only.
	"internal/attest/attesttest":     {},
	"internal/docstest":              {},
	"internal/promtest":              {},
	"internal/check/checktest":       {"hardening", "internal/baseline", "internal/check", "internal/control", "internal/distribution", "internal/host", "internal/host/hosttest", "internal/resource", "internal/server"},
	"internal/host/hosttest":         {"internal/host"},
	"internal/node/nodetest":         {"internal/node"},
	"internal/discover/discovertest": {"internal/discover", "internal/node", "internal/node/nodetest"},
	"internal/measure/measuretest":   {},
	"internal/lab/plain":             {"internal/lab", "internal/lab/network"},
	"internal/launch/awstest":        {},
	"internal/harden/hardentest":     {"internal/image"},
	"internal/image/imagetest":       {"internal/image", "internal/overlay"},
	"internal/house":                 {},
}

// forbidden imports, with the reason.
var forbidden = map[string]map[string]string{
	"internal/resource":     {"os": "a kind reads through host.Host", "os/exec": "nothing forks", "net": "a kind reads through host.Host", "time": "a verdict does not depend on a clock"},
	"internal/baseline":     {"os": "compiling is pure", "os/exec": "nothing forks", "net": "compiling is pure", "time": "compiling is pure"},
	"internal/overlay":      {"os": "an overlay is a plan", "os/exec": "nothing forks"},
	"internal/control":      {"os": "the vocabulary does nothing", "os/exec": "nothing forks"},
	"internal/host":         {"os/exec": "nothing on a node forks"},
	"internal/check":        {"os/exec": "nothing on a node forks", "encoding/json": "encoding is internal/report's"},
	"internal/report":       {"os/exec": "nothing on a node forks"},
	"internal/configure":    {"os/exec": "nothing on a node forks"},
	"internal/datadisk":     {"os/exec": "nothing on a node forks"},
	"internal/install":      {"os/exec": "nothing on a node forks"},
	"internal/telemetry":    {"os/exec": "nothing on a node forks"},
	"internal/cluster":      {"os/exec": "nothing on a node forks"},
	"internal/bootstrap":    {"os/exec": "nothing on a node forks"},
	"internal/discover":     {"os/exec": "nothing on a node forks"},
	"internal/retire":       {"os/exec": "nothing on a node forks"},
	"internal/agent":        {"os/exec": "nothing on a node forks"},
	"internal/snapshot":     {"os/exec": "nothing on a node forks"},
	"internal/logs":         {"os/exec": "nothing on a node forks"},
	"internal/cloudapi":     {"os/exec": "nothing on a node forks"},
	"internal/attest":       {"os/exec": "nothing on a node forks"},
	"internal/node":         {"os/exec": "nothing on a node forks"},
	"cmd/hostcheck":         {"os/exec": "nothing on a node forks"},
	"internal/image":        {"github.com/hashicorp/packer-plugin-sdk": "image assembly knows no Packer"},
	"internal/harden":       {"github.com/hashicorp/packer-plugin-sdk": "hardening a machine knows no Packer", "os/exec": "what runs, runs on the machine"},
	"internal/metal":        {"github.com/hashicorp/packer-plugin-sdk": "rendering for an installer knows no Packer", "os/exec": "what runs, runs in an installer"},
	"internal/launch":       {"github.com/hashicorp/packer-plugin-sdk": "a launch template knows no Packer", "os/exec": "clouds are called by their SDKs"},
	"internal/launch/aws":   {"github.com/hashicorp/packer-plugin-sdk": "a launch template knows no Packer", "os/exec": "clouds are called by their SDKs"},
	"internal/launch/azure": {"github.com/hashicorp/packer-plugin-sdk": "a launch template knows no Packer", "os/exec": "clouds are called by their SDKs"},
	"internal/launch/gcp":   {"github.com/hashicorp/packer-plugin-sdk": "a launch template knows no Packer", "os/exec": "clouds are called by their SDKs"},
	"internal/inspect":      {"os/exec": "an image is judged by its bytes: no other program is asked"},
	"internal/inspect/disk": {"os/exec": "an image is judged by its bytes: no other program is asked"},
	"internal/release":      {"github.com/hashicorp/packer-plugin-sdk": "resolving a release knows no Packer", "os/exec": "signatures are checked here, not by a program"},
}

type goPackage struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,Imports", module+"...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var list []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

func TestImportsPointDown(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		allowed, known := layers[name]
		if !known {
			t.Errorf("%s has no place in the house: add it to layers", name)
			continue
		}
		for _, imported := range p.Imports {
			if inner, ours := strings.CutPrefix(imported, module); ours && !slices.Contains(allowed, inner) {
				t.Errorf("%s imports %s", name, inner)
			}
			for prefix, why := range forbidden[name] {
				if imported == prefix || strings.HasPrefix(imported, prefix+"/") && prefix != "os" && prefix != "net" {
					t.Errorf("%s imports %s: %s", name, imported, why)
				}
			}
		}
	}
}

// The agent's memory is mostly its own code. A program that executes templates calls methods by name, so the
// linker keeps every method of every type in it: 3.4 MiB of 17 in the agent.
func TestAgentExecutesNoTemplates(t *testing.T) {
	list := packages(t)
	imports := map[string][]string{}
	for _, p := range list {
		imports[p.ImportPath] = p.Imports
	}
	seen := map[string]bool{}
	var visit func(string)
	visit = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		for _, imported := range imports[name] {
			if imported == "text/template" || imported == "html/template" {
				t.Errorf("%s, which is in hostcheck, imports %s: move what needs it into a package that only imagebuild imports", name, imported)
			}
			visit(imported)
		}
	}
	visit(module + "cmd/hostcheck")
	if len(seen) < 20 {
		t.Errorf("only %d packages in hostcheck", len(seen))
	}
}

// Registration is an explicit list; an init function would hide it.
func TestNoInitFunctions(t *testing.T) {
	for _, p := range packages(t) {
		for _, file := range p.GoFiles {
			parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, file), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range parsed.Decls {
				if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
					t.Errorf("%s/%s has an init function", p.ImportPath, file)
				}
			}
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range packages(t) {
		said := false
		for _, file := range p.GoFiles {
			parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, file), nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Fatal(err)
			}
			said = said || parsed.Doc != nil && (strings.HasPrefix(parsed.Doc.Text(), "Package ") || strings.HasPrefix(parsed.Doc.Text(), "Command "))
		}
		if !said && len(p.GoFiles) > 0 {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}
