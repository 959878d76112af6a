package node_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/strongroom/strongroom/internal/node"
)

const good = `
cluster {
  name = "prod-eu1"
}
api_addr     = "https://vault-1.example.net:8200"
cluster_addr = "https://{{ GetPrivateIP }}:8201"
seal "shamir" {}
firewall {
  api_clients    = ["10.0.0.0/8", "2001:db8::/32"]
  cluster_peers  = ["10.1.2.0/24"]
  monitoring     = ["192.0.2.7"]
  load_balancers = []
  egress         = ["0.0.0.0/0"]
}
`

// image is what the file is parsed for.
var image = node.Image{Server: "vault", ClusterPort: 8201}

func TestParse(t *testing.T) {
	got, err := node.Parse("node.hcl", []byte(good), image)
	if err != nil {
		t.Fatal(err)
	}
	want := &node.Config{
		ClusterName: "prod-eu1",
		APIAddr:     "https://vault-1.example.net:8200",
		ClusterAddr: "https://{{ GetPrivateIP }}:8201",
		Raft:        node.Raft{PerformanceMultiplier: 1}, Seal: node.Seal{Type: "shamir"},
		TLS:       node.TLSReferences{Cert: "credential:strongroom.tls.crt", Key: "credential:strongroom.tls.key", CA: "credential:strongroom.tls.ca"},
		Telemetry: node.TelemetryConfig{DisableHostname: true},
		Firewall: node.Firewall{
			APIClients:   prefixes("10.0.0.0/8", "2001:db8::/32"),
			ClusterPeers: prefixes("10.1.2.0/24"),
			Monitoring:   prefixes("192.0.2.7/32"),
			Egress:       prefixes("0.0.0.0/0"),
		},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// Each case edits the good file; the mistakes are told by line and by a part of the text.
func TestMistakes(t *testing.T) {
	type mistake struct {
		line int
		text string
	}
	cases := map[string]struct {
		from, to string
		want     []mistake
	}{
		"unknown key":           {`api_addr `, `api_adress `, []mistake{{1, `missing required argument`}, {5, `known keys: api_addr, cluster_addr`}}},
		"unknown key in block":  {`monitoring `, `monitors `, []mistake{{11, `unknown key "monitors"`}}},
		"unknown block":         {`seal "shamir" {}`, `storage "file" {}`, []mistake{{7, `unknown block "storage"`}}},
		"missing block":         {"cluster {\n  name = \"prod-eu1\"\n}", "", []mistake{{1, "missing cluster block"}}},
		"two blocks":            {`seal "shamir" {}`, "cluster { name = \"two\" }", []mistake{{7, "duplicate cluster block"}}},
		"key given twice":       {`seal "shamir" {}`, `api_addr = "https://a:1"`, []mistake{{7, "redefined"}}},
		"string for a list":     {`["192.0.2.7"]`, `"192.0.2.7"`, []mistake{{11, "unsuitable value type"}}},
		"list for a string":     {`"prod-eu1"`, `["prod-eu1"]`, []mistake{{3, "unsuitable value type"}}},
		"number for a string":   {`"prod-eu1"`, `5`, []mistake{{3, "neither a string nor"}}},
		"null":                  {`"prod-eu1"`, `null`, []mistake{{3, "neither a string nor"}}},
		"function":              {`["10.1.2.0/24"]`, `concat([], ["10.1.2.0/24"])`, []mistake{{10, "neither a string nor"}}},
		"for expression":        {`["10.1.2.0/24"]`, `[for a in ["10.0.0.0/24"] : a]`, []mistake{{10, "neither a string nor"}}},
		"interpolation":         {`"prod-eu1"`, `"${env.NAME}"`, []mistake{{3, "neither a string nor"}}},
		"syntax":                {`["10.1.2.0/24"]`, `["10.1.2.0/24"`, []mistake{{11, "missing"}}},
		"cluster name":          {`prod-eu1`, `prod eu1`, []mistake{{3, `cluster name "prod eu1"`}}},
		"plain http":            {`https://vault-1`, `http://vault-1`, []mistake{{5, "scheme is not https"}}},
		"no port":               {`example.net:8200`, `example.net`, []mistake{{5, "port is missing"}}},
		"port out of range":     {`example.net:8200`, `example.net:82000`, []mistake{{5, "not a port"}}},
		"path":                  {`example.net:8200`, `example.net:8200/`, []mistake{{5, "nothing may follow"}}},
		"user name":             {`https://vault-1`, `https://root@vault-1`, []mistake{{5, "user name"}}},
		"loopback":              {`vault-1.example.net`, `127.0.0.1`, []mistake{{5, "others cannot reach"}}},
		"host":                  {`vault-1.example.net`, `vault_-.example`, []mistake{{5, "neither a host name"}}},
		"cluster port":          {`{{ GetPrivateIP }}:8201`, `10.0.0.1:8200`, []mistake{{6, "not the Raft port"}}},
		"open template":         {`{{ GetPrivateIP }}`, `{{ GetPrivateIP }`, []mistake{{6, "not closed"}}},
		"seal":                  {`"shamir"`, `"pkcs11"`, []mistake{{7, `seal "pkcs11" is not one`}}},
		"host bits":             {`10.1.2.0/24`, `10.1.2.3/24`, []mistake{{10, `write "10.1.2.0/24"`}}},
		"name in a set":         {`192.0.2.7`, `prometheus.example`, []mistake{{11, "names are not resolved"}}},
		"zone":                  {`192.0.2.7`, `fe80::1%eth0`, []mistake{{11, "has a zone"}}},
		"multicast":             {`192.0.2.7`, `224.0.0.0/4`, []mistake{{11, "multicast"}}},
		"mapped":                {`192.0.2.7`, `::ffff:10.0.0.1`, []mistake{{11, "IPv6 notation"}}},
		"unspecified":           {`192.0.2.7`, `0.0.0.0`, []mistake{{11, "not the address of a host"}}},
		"everything in":         {`"192.0.2.7"`, `"::/0"`, []mistake{{11, "admits every address"}}},
		"two in one list":       {`"10.0.0.0/8", "2001:db8::/32"`, `"x", "y"`, []mistake{{9, `"x"`}, {9, `"y"`}}},
		"everything at once":    {good, "api_addr = 1\ncluster {}\nfirewall { api_clients = [\"x\"] }\nbogus = 1", []mistake{{1, "cluster_addr"}, {1, "api_addr is neither"}, {2, "name"}, {3, `"x"`}, {4, "bogus"}}},
		"nested without bounds": {`"prod-eu1"`, strings.Repeat("[", 30000), []mistake{{3, "nested too deeply"}}},
		"signs without bounds":  {`"prod-eu1"`, strings.Repeat("-", 30000), []mistake{{3, "nested too deeply"}}},
		"argument of the seal":  {`seal "shamir" {}`, `seal "shamir" { address = "x" }`, []mistake{{7, "nothing may stand"}}},
		"seal without a type":   {`seal "shamir" {}`, `seal {}`, []mistake{{7, "missing"}}},
		"too large":             {good, strings.Repeat("#", 64<<10+1), []mistake{{1, "65537 bytes"}}},
		"not text":              {`prod-eu1`, "\xff\xfe", []mistake{{3, "encoding"}, {3, "unterminated"}}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			src := strings.Replace(good, c.from, c.to, 1)
			if src == good {
				t.Fatalf("%q is not in the file", c.from)
			}
			_, err := node.Parse("node.hcl", []byte(src), image)
			var got node.Mistakes
			if !errors.As(err, &got) {
				t.Fatalf("got %v, want mistakes", err)
			}
			if len(got) != len(c.want) {
				t.Fatalf("got %d mistakes, want %d:\n%v", len(got), len(c.want), err)
			}
			for i, want := range c.want {
				if got[i].Line != want.line || !strings.Contains(strings.ToLower(got[i].String()), strings.ToLower(want.text)) {
					t.Errorf("mistake %d: got %v\nwant line %d with %q", i, got[i], want.line, want.text)
				}
				if got[i].Hint == "" {
					t.Errorf("mistake %d has no hint: %v", i, got[i])
				}
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(`cluster { name = "${a}" }` + "\nseal \"x\" \"y\" {}\napi_addr = <<E\nhttps://a:1\nE\n"))
	f.Add([]byte("firewall { api_clients = [\"10.0.0.0/8\", [\"::/0\"], {a = 1}] }"))
	f.Add([]byte(top + `join { leader { address = "https://a:1" } auto_join = "provider=x" }` + "\nseal \"transit\" {\n address = \"https://a:1\"\n token = \"credential:strongroom.seal.token\"\n}"))
	f.Add([]byte(top + "telemetry { basic_auth = { a = \"b\" } }\naudit \"file\" { format = [] }\nauth \"cert\" {}\nmemory_lock = true"))
	f.Fuzz(func(t *testing.T, src []byte) {
		config, err := node.Parse("node.hcl", src, image)
		if err != nil {
			var wrong node.Mistakes
			if !errors.As(err, &wrong) || len(wrong) == 0 {
				t.Fatalf("an error that is no mistake: %v", err)
			}
			for _, m := range wrong {
				if m.Line < 1 || m.Problem == "" {
					t.Fatalf("a mistake without a place: %+v", m)
				}
			}
			return
		}
		for _, p := range append(config.Firewall.APIClients, config.Firewall.Monitoring...) {
			if !p.IsValid() || p != p.Masked() || p.Bits() == 0 {
				t.Fatalf("accepted network %v", p)
			}
		}
		for _, file := range config.Seal.Files {
			if r, problem, _ := node.ParseReference(string(file.Reference)); problem != "" || r != file.Reference {
				t.Fatalf("accepted reference %q", file.Reference)
			}
		}
		if !node.Templated(config.APIAddr) && node.CheckURL(config.APIAddr) != nil {
			t.Fatalf("accepted api_addr %q", config.APIAddr)
		}
	})
}
