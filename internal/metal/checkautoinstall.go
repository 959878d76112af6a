package metal

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// keys of an autoinstall, by the path of the mapping that they are in. Subiquity takes any other key at the top without a word.
var keys = map[string][]string{
	"": {"autoinstall"},
	"autoinstall": {
		"version", "interactive-sections", "early-commands", "locale", "keyboard", "timezone", "source", "refresh-installer", "proxy", "network", "ssh", "user-data", "storage",
		"packages", "late-commands", "error-commands", "shutdown", "updates", "apt", "kernel", "identity",
	},
	"autoinstall.keyboard":                        {"layout", "variant", "toggle"},
	"autoinstall.source":                          {"id", "search_drivers"},
	"autoinstall.refresh-installer":               {"update", "channel"},
	"autoinstall.network":                         {"version", "ethernets"},
	"autoinstall.network.ethernets.*":             {"match", "dhcp4", "dhcp6", "addresses", "routes", "nameservers", "set-name", "mtu"},
	"autoinstall.network.ethernets.*.match":       {"name", "macaddress", "driver"},
	"autoinstall.network.ethernets.*.nameservers": {"addresses", "search"},
	"autoinstall.network.ethernets.*.routes[]":    {"to", "via"},
	"autoinstall.ssh":                             {"install-server", "allow-pw"},
	"autoinstall.user-data":                       {"disable_root", "users"},
	"autoinstall.storage":                         {"swap", "config"},
	"autoinstall.storage.swap":                    {"size"},
	"autoinstall.storage.config[]":                {"type", "id", "match", "ptable", "wipe", "device", "number", "size", "flag", "grub_device", "volume", "fstype", "path", "options", "preserve"},
	"autoinstall.storage.config[].match":          {"path"},
	"autoinstall.kernel":                          {"package", "flavor"},
	"autoinstall.apt":                             {"geoip", "preserve_sources_list", "fallback"},
	"autoinstall.identity":                        {}, // none: an account
}

// CheckAutoinstall reads an autoinstall strictly: known keys, each once; no account, no SSH server, no swap, one disk that an early command has found; commands whose
// failure is fatal, and that download nothing without a digest.
func CheckAutoinstall(text []byte) error {
	a := &autoinstall{}
	if !strings.HasPrefix(string(text), "#cloud-config\n") {
		a.bad("", "it does not begin with the line #cloud-config, and cloud-init passes over it")
	}
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return fmt.Errorf("it is no YAML: %w", err)
	}
	if root.Kind != yaml.DocumentNode || root.Content[0].Kind != yaml.MappingNode {
		return errors.New("it is no mapping")
	}
	a.walk("", "", root.Content[0])
	for _, want := range []struct{ path, value string }{
		{"autoinstall.version", "1"}, {"autoinstall.ssh.install-server", "false"}, {"autoinstall.storage.swap.size", "0"},
	} {
		if got := scalar(root.Content[0], want.path); got != want.value {
			a.bad(want.path, "it has to be %s, not %q", want.value, got)
		}
	}
	for _, path := range []string{"autoinstall.late-commands", "autoinstall.early-commands", "autoinstall.storage.config", "autoinstall.user-data"} {
		if at(root.Content[0], path) == nil {
			a.bad(path, "it is missing")
		}
	}
	return errors.Join(a.wrong...)
}

type autoinstall struct{ wrong []error }

func (a *autoinstall) bad(path, format string, args ...any) {
	if path != "" {
		format = path + ": " + format
	}
	a.wrong = append(a.wrong, fmt.Errorf(format, args...))
}

// walk checks a value. pattern is its path with names that a user chooses as *, and items of lists as [].
func (a *autoinstall) walk(path, pattern string, n *yaml.Node) {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		a.bad(path, "aliases are not read here")
		return
	}
	switch n.Kind {
	case yaml.MappingNode:
		known, fixed := keys[pattern]
		if !fixed && pattern != "autoinstall.network.ethernets" {
			a.bad(path, "a mapping is not known here")
			return
		}
		var seen []string
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i].Value
			under, asPattern := join(path, key), join(pattern, key)
			if !fixed {
				asPattern = join(pattern, "*")
			} else if !slices.Contains(known, key) {
				a.bad(under, "no such key is known here")
				continue
			}
			if slices.Contains(seen, key) {
				a.bad(under, "it is there twice")
			}
			seen = append(seen, key)
			a.walk(under, asPattern, n.Content[i+1])
		}
	case yaml.SequenceNode:
		for i, item := range n.Content {
			a.walk(fmt.Sprintf("%s[%d]", path, i), pattern+"[]", item)
		}
	}
	a.judge(path, pattern, n)
}

// judge knows what some values have to be.
func (a *autoinstall) judge(path, pattern string, n *yaml.Node) {
	switch pattern {
	case "autoinstall.early-commands[]", "autoinstall.late-commands[]", "autoinstall.error-commands[]":
		if n.Kind != yaml.ScalarNode {
			a.bad(path, "a command is one text, which a shell runs")
		} else if err := checkShell(path, n.Value); err != nil {
			a.wrong = append(a.wrong, err)
		}
	case "autoinstall.identity":
		a.bad(path, "it makes an account: use user-data with disable_root and no users")
	case "autoinstall.user-data.users", "autoinstall.interactive-sections":
		if n.Kind != yaml.SequenceNode || len(n.Content) > 0 {
			a.bad(path, "it has to be an empty list")
		}
	case "autoinstall.user-data.disable_root":
		if n.Value != "true" {
			a.bad(path, "it has to be true")
		}
	case "autoinstall.packages[]":
		if slices.Contains(sshPackages, n.Value) {
			a.bad(path, "%s is a way in", n.Value)
		}
	case "autoinstall.storage.config[]":
		if n.Kind != yaml.MappingNode {
			a.bad(path, "it is no mapping")
			return
		}
		if scalar(n, "type") == "disk" && scalar(n, "match.path") != diskMark {
			a.bad(path, "a disk is found by match: {path: %s}, for which the early command puts its device", diskMark)
		}
		if t := scalar(n, "type"); !slices.Contains([]string{"disk", "partition", "format", "mount"}, t) {
			a.bad(path, "the type %q is not known here", t)
		}
		if f := scalar(n, "fstype"); f == "swap" {
			a.bad(path, "it has swap")
		}
	case "autoinstall.proxy":
		if err := checkURL(n.Value, "https", "http"); err != nil {
			a.bad(path, "%w", err)
		}
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// at finds a value by its path, nil if there is none.
func at(n *yaml.Node, path string) *yaml.Node {
	for key := range strings.SplitSeq(path, ".") {
		if n == nil || n.Kind != yaml.MappingNode {
			return nil
		}
		var next *yaml.Node
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				next = n.Content[i+1]
			}
		}
		n = next
	}
	return n
}

func scalar(n *yaml.Node, path string) string {
	if found := at(n, path); found != nil && found.Kind == yaml.ScalarNode {
		return found.Value
	}
	return ""
}
