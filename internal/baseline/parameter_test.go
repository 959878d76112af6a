package baseline_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/resource"
)

// A value is accepted, or refused with an error that names the parameter, the value and the way out.
func TestParameterTypes(t *testing.T) {
	metadata := []string{"169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128"}
	for _, c := range []struct {
		parameter baseline.Parameter
		value     string
		says      string // empty: accepted
	}{
		{baseline.Parameter{Type: "string", OneOf: []string{"on", "off"}}, "off", ""},
		{baseline.Parameter{Type: "string", OneOf: []string{"on", "off"}}, "maybe", "is not one of on, off"},
		{baseline.Parameter{Type: "string", Pattern: "[a-z]+", Default: "abc"}, "abc", ""},
		{baseline.Parameter{Type: "string", Pattern: "a|b"}, "ab", "does not match a|b"},
		{baseline.Parameter{Type: "string", Pattern: "[a-z]+", Default: "abc"}, "x\n", `such as "abc"`},
		{baseline.Parameter{Type: "number", Least: 1, Most: 90}, "90", ""},
		{baseline.Parameter{Type: "number", Least: 1, Most: 90, Default: "14"}, "91", "from 1 to 90: give one such as 14"},
		{baseline.Parameter{Type: "number", Least: 1, Most: 90}, "0", "from 1 to 90"},
		{baseline.Parameter{Type: "number", Least: 1, Most: 90}, "07", "is not a number"},
		{baseline.Parameter{Type: "number", Least: 1, Most: 90}, "", "is not a number"},
		{baseline.Parameter{Type: "duration"}, "15m", ""},
		{baseline.Parameter{Type: "duration", Default: "1h"}, "15", `unit s, m or h, such as "1h"`},
		{baseline.Parameter{Type: "duration"}, "0s", "is not a duration"},
		{baseline.Parameter{Type: "duration"}, "1h30m", "is not a duration"},
		{baseline.Parameter{Type: "port"}, "1024", ""},
		{baseline.Parameter{Type: "port"}, "65535", ""},
		{baseline.Parameter{Type: "port", Default: "8200"}, "443", "capability to bind a lower one"},
		{baseline.Parameter{Type: "port", Default: "8200"}, "65536", "such as 8200"},
		{baseline.Parameter{Type: "port"}, "08200", "is not a port"},
		{baseline.Parameter{Type: "port"}, "", "is not a port"},
		{baseline.Parameter{Type: "port"}, "+8200", "is not a port"},
		{baseline.Parameter{Type: "cidr_list"}, "", ""},
		{baseline.Parameter{Type: "cidr_list"}, "169.254.169.254  10.0.0.0/8 fd00:ec2::254", ""},
		{baseline.Parameter{Type: "cidr_list"}, "metadata.internal", "separated by spaces"},
		{baseline.Parameter{Type: "cidr_list"}, "10.0.0.1,10.0.0.2", "separated by spaces"},
		{baseline.Parameter{Type: "cidr_list"}, "10.0.0.1/8", "write 10.0.0.0/8"},
		{baseline.Parameter{Type: "cidr_list"}, "0.0.0.0/0", "every address"},
		{baseline.Parameter{Type: "cidr_list"}, "::ffff:10.0.0.1", "write it as IPv4"},
		{baseline.Parameter{Type: "cidr_list"}, "fe80::1%eth0", "neither a network"},
		{baseline.Parameter{Type: "cidr_list"}, "10.0.0.1 10.0.0.1/32", "is there already"},
		{baseline.Parameter{Type: "cidr_list", Within: metadata}, "169.254.169.254 169.254.0.0/17 fd00:ec2::254", ""},
		{baseline.Parameter{Type: "cidr_list", Within: metadata}, "10.0.0.1", "firewall.egress"},
		{baseline.Parameter{Type: "cidr_list", Within: metadata}, "169.0.0.0/8", "does not lie in"},
		{baseline.Parameter{Type: "unit_list"}, "", ""},
		{baseline.Parameter{Type: "unit_list"}, "node-exporter.service ship@eu.timer ship@.service", ""},
		{baseline.Parameter{Type: "unit_list"}, "node-exporter", "with its type"},
		{baseline.Parameter{Type: "unit_list"}, "a.service,b.service", "separated by spaces"},
		{baseline.Parameter{Type: "unit_list"}, "*.service", "with its type"},
		{baseline.Parameter{Type: "unit_list"}, "../a.service", "with its type"},
		{baseline.Parameter{Type: "unit_list"}, "a.service a.service", "twice"},
		{baseline.Parameter{Type: "certificates"}, "", ""},
		{baseline.Parameter{Type: "certificates"}, "/etc/ca.pem", "give the content of the file"},
		{baseline.Parameter{Type: "certificates"}, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate 1: "},
		{baseline.Parameter{Type: "certificates"}, "-----BEGIN CERTIFICATE-----\nAAAA\n", "broken PEM block"},
		{baseline.Parameter{Type: "certificates"}, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", `type "PRIVATE KEY"`},
		{baseline.Parameter{Type: "colour"}, "red", `type "colour" is not one of string, number`},
	} {
		c.parameter.Name = "thing"
		err := c.parameter.Check(c.value)
		switch {
		case c.says == "" && err != nil:
			t.Errorf("%s: %q is refused: %v", c.parameter.Type, c.value, err)
		case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "parameter thing: ")):
			t.Errorf("%s: %q: got %v, want parameter thing and %q", c.parameter.Type, c.value, err, c.says)
		}
	}
}

// Mistakes in a declaration are found when the catalogue is read.
func TestParameterDeclarations(t *testing.T) {
	const right = `{name: size, type: string, default: "1", pattern: "[0-9]+"}`
	for name, c := range map[string][2]string{
		"no type":                    {`{name: size, default: "1"}`, `type "" is not one of`},
		"a default that is wrong":    {`{name: size, type: port, default: "1"}`, "default of parameter size"},
		"a string of any text":       {`{name: size, type: string, default: "1"}`, "either one_of or a pattern"},
		"a port with a pattern":      {`{name: size, type: port, default: "8200", pattern: "[0-9]+"}`, "either one_of or a pattern"},
		"a number without bounds":    {`{name: size, type: number, default: "1"}`, "has bounds"},
		"a pattern that is broken":   {`{name: size, type: string, default: "1", pattern: "["}`, "pattern"},
		"within of a string":         {`{name: size, type: string, default: "1", pattern: "1", within: [10.0.0.0/8]}`, "within is for a cidr_list"},
		"within nowhere":             {`{name: size, type: cidr_list, default: "", within: [everywhere]}`, "is not a network"},
		"when without otherwise":     {`{name: size, type: string, default: "1", pattern: "1", when: {server: [vault]}}`, "belong together"},
		"when of nothing":            {`{name: size, type: string, default: "1", pattern: "1", when: {moon: [full]}, otherwise: no}`, `when names "moon"`},
		"a name that cannot be used": {`{name: Size2, type: string, default: "1", pattern: "1"}`, "lower-case words"},
	} {
		text := strings.Replace(good, right, c[0], 1)
		if text == good {
			t.Fatal("the case changes nothing")
		}
		if err := parse(t, text); err == nil || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("%s: got %v, want %q", name, err, c[1])
		}
	}
}

const lists = `family: memory
parameters:
  - {name: networks, type: cidr_list, default: "169.254.169.254"}
  - {name: agent_port, type: port, default: "9810"}
  - {name: other_port, type: port, default: "9811"}
controls:
  - id: memory-example-one
    title: An example
    severity: must
    stage: boot
    guide: [B4]
    rationale: Because.
    resources:
      - mount: {point: /srv, options: [ro, "${networks}", "p=${agent_port}"]}
`

// compileList compiles the catalogue above and gives the items of its list.
func compileList(t *testing.T, text string, parameters map[string]string) ([]string, error) {
	t.Helper()
	c, err := baseline.Parse(family("memory.yaml", text), nil)
	if err != nil {
		return nil, err
	}
	p := checktest.Profile()
	p.Parameters = parameters
	b, err := c.Compile(p)
	if err != nil {
		return nil, err
	}
	ctl, _ := b.Find("memory-example-one")
	return ctl.Resources[0].(*resource.Mount).Options, nil
}

// A list becomes as many items as it has entries, sorted, so that the order in which they were given changes nothing.
func TestListParameterBecomesItems(t *testing.T) {
	for value, want := range map[string][]string{
		"":                                  {"ro", "p=9810"},
		"169.254.169.254":                   {"ro", "169.254.169.254", "p=9810"},
		" fd00:ec2::254   169.254.169.254 ": {"ro", "169.254.169.254", "fd00:ec2::254", "p=9810"},
		"169.254.169.254 fd00:ec2::254":     {"ro", "169.254.169.254", "fd00:ec2::254", "p=9810"},
	} {
		got, err := compileList(t, lists, map[string]string{"networks": value})
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%q: %v\n%s", value, err, diff)
		}
	}
}

// Anywhere else than as a whole item, a list has no meaning.
func TestListParameterStandsInAListOnly(t *testing.T) {
	for name, edit := range map[string][2]string{
		"in the text of an item": {`"${networks}"`, `"a-${networks}"`},
		"as a value":             {"point: /srv", `point: "${networks}"`},
		"in a title":             {"title: An example", "title: Of ${networks}"},
	} {
		text := strings.Replace(lists, edit[0], edit[1], 1)
		if _, err := compileList(t, text, nil); err == nil || !strings.Contains(err.Error(), "is a list") || !strings.Contains(err.Error(), "memory.yaml:") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestPortsAreApart(t *testing.T) {
	_, err := compileList(t, lists, map[string]string{"other_port": "9810"})
	if err == nil || !strings.Contains(err.Error(), `parameter other_port: "9810" is the port of agent_port already`) {
		t.Errorf("got %v", err)
	}
}

// Memory locking does not exist in OpenBao: asking for it is refused, and leaving it off is not.
func TestMemoryLockIsRefusedForOpenBao(t *testing.T) {
	c := checktest.Catalogue(t)
	p := checktest.OpenBaoProfile()
	p.Parameters = map[string]string{"memory_lock": "on"}
	_, err := c.Compile(p)
	for _, want := range []string{`parameter memory_lock: "on"`, "openbao/vm", "OpenBao has no memory locking", `leave it out, or write "off"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	p.Parameters = map[string]string{"memory_lock": "off"}
	b, err := c.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"memory-lock-decided", "memory-lock-enforced"} {
		if _, ok := b.Find(id); ok {
			t.Errorf("OpenBao has %s", id)
		}
	}
	if _, ok := b.Find("openbao-memory-unprivileged"); !ok {
		t.Error("nothing is said about OpenBao's capabilities")
	}
	for _, c := range b.Controls {
		for _, r := range c.Resources {
			if v, ok := r.(*resource.VaultConfig); ok {
				if _, asked := v.Require["disable_mlock"]; asked {
					t.Errorf("%s asks OpenBao for disable_mlock", c.ID)
				}
			}
		}
	}
}

// file is a file of the overlay of a profile.
func file(t *testing.T, p control.Profile, path string) string {
	t.Helper()
	tree, err := checktest.Compile(t, p).Overlay()
	must(t, err)
	for _, f := range tree.Fragments() {
		if f.Path == path {
			return string(f.Content)
		}
	}
	t.Fatalf("no %s in the overlay", path)
	return ""
}

// Ports and networks that an image chooses are those of its firewall and of its list of listeners; the usual ones are
// nowhere then.
func TestNetworkParametersReachTheFirewall(t *testing.T) {
	p := checktest.Profile()
	p.Parameters = map[string]string{"api_port": "18200", "cluster_port": "18201", "agent_port": "19810", "metadata_egress": "fd00:ec2::254 169.254.169.254"}
	rules := file(t, p, "/etc/nftables.conf")
	for _, want := range []string{
		"ip saddr @api_clients4 tcp dport 18200 accept", "ip daddr @cluster_peers4 tcp dport 18201 accept", "ip saddr @monitoring4 tcp dport 19810 accept",
		"ip daddr 169.254.169.254 tcp dport 80 accept", "ip6 daddr fd00:ec2::254 tcp dport 80 accept",
	} {
		if !strings.Contains(rules, want) {
			t.Errorf("no rule %q:\n%s", want, rules)
		}
	}
	statement, err := checktest.Compile(t, p).JSON()
	must(t, err)
	for _, usual := range []string{"8200", "8201", "9810"} {
		pattern := regexp.MustCompile(`[^0-9]` + usual + `[^0-9]`)
		if pattern.MatchString(rules) {
			t.Errorf("port %s is still in the firewall", usual)
		}
		if at := pattern.FindIndex(statement); at != nil {
			t.Errorf("port %s is still in the baseline: %s", usual, statement[max(0, at[0]-60):at[1]])
		}
	}

	p.Parameters = map[string]string{"metadata_egress": ""}
	if rules := file(t, p, "/etc/nftables.conf"); strings.Contains(rules, "dport 80 ") {
		t.Errorf("the metadata service may be asked where there is none:\n%s", rules)
	}
	p.Parameters = map[string]string{"metadata_egress": "10.0.0.1"}
	if _, err := checktest.Catalogue(t).Compile(p); err == nil || !strings.Contains(err.Error(), "parameter metadata_egress") {
		t.Errorf("egress to anywhere is baked as metadata: %v", err)
	}
}
