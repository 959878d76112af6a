package node_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/strongroom/strongroom/internal/node"
)

// top is what every file has; a test adds blocks from line 8 on.
const top = `cluster { name = "prod-eu1" }
api_addr     = "https://vault-1.example.net:8200"
cluster_addr = "https://{{ GetPrivateIP }}:8201"
firewall {
  cluster_peers = ["10.1.2.0/24"]
  egress        = ["10.3.0.0/16"]
}
`

// blocks says what each block means when everything in it is right.
func TestBlocks(t *testing.T) {
	bcrypt := "$2y$10$" + strings.Repeat("a", 53)
	bao := node.Image{Server: "openbao", ClusterPort: 8201}
	cases := map[string]struct {
		image node.Image
		src   string
		want  func(*node.Config)
	}{
		"memory lock": {src: `memory_lock = "off"`},
		"raft, empty": {src: "raft {\n}"},
		"raft":        {src: "raft {\n  performance_multiplier = \"5\"\n}", want: func(c *node.Config) { c.Raft.PerformanceMultiplier = 5 }},
		"recovery": {src: "recovery {\n  recipients = [\"age1mzl23z83037m3mv3l7uvjnwjzc37j53yenl833232ax458x0vvpsqqp3gr\"]\n  deliver_to = [\"node\", \"https://10.3.0.9/keys/\"]\n}", want: func(c *node.Config) {
			c.Recovery = node.Recovery{Recipients: []string{"age1mzl23z83037m3mv3l7uvjnwjzc37j53yenl833232ax458x0vvpsqqp3gr"}, DeliverTo: []string{"node", "https://10.3.0.9/keys/"}}
		}},
		"join": {src: `join {
  leader { address = "https://vault-1.example.net:8200" }
  leader {
    address     = "https://10.1.2.7:8200"
    server_name = "vault-2.example.net"
    ca          = "file:///etc/strongroom/ca.pem"
  }
  auto_join   = "provider=aws tag_key=strongroom tag_value=prod"
  srv         = "_vault._tcp.example.net"
  scheme      = "https"
  port        = "18200"
  server_name = "vault.example.net"
}`, want: func(c *node.Config) {
			c.Join = node.JoinConfig{
				Leaders: []node.LeaderConfig{
					{Address: "https://vault-1.example.net:8200"},
					{Address: "https://10.1.2.7:8200", ServerName: "vault-2.example.net", CA: "file:/etc/strongroom/ca.pem"},
				},
				AutoJoin: "provider=aws tag_key=strongroom tag_value=prod", SRV: "_vault._tcp.example.net",
				Scheme: "https", Port: 18200, ServerName: "vault.example.net",
			}
		}},
		"join by address alone": {src: `join { srv = "_vault._tcp.example.net" }`, want: func(c *node.Config) {
			c.Join = node.JoinConfig{SRV: "_vault._tcp.example.net", Scheme: "https", Port: 8200}
		}},
		"transit": {src: `seal "transit" {
  address         = "https://10.3.0.9:8200"
  key_name        = "unseal"
  token           = "credential:strongroom.seal.token"
  ca              = "https://ca.example.net/root.pem"
  server_name     = "transit.example.net"
  disable_renewal = true
}`, want: func(c *node.Config) {
			c.Seal = node.Seal{
				Type: "transit",
				Options: map[string]string{"address": "https://10.3.0.9:8200", "key_name": "unseal", "mount_path": "transit/",
					"disable_renewal": "true", "tls_server_name": "transit.example.net"},
				Files: []node.SealFile{
					{Option: "tls_ca_cert", Reference: "https://ca.example.net/root.pem", Content: node.ContentCertificates},
					{Option: "token", Reference: "credential:strongroom.seal.token", Indirect: true},
				},
			}
		}},
		"awskms": {src: `seal "awskms" {
  kms_key_id = "alias/unseal"
  region     = "eu-central-1"
}`, want: func(c *node.Config) {
			c.Seal = node.Seal{Type: "awskms", Options: map[string]string{"kms_key_id": "alias/unseal", "region": "eu-central-1"}}
		}},
		"gcpckms": {src: `seal "gcpckms" {
  project     = "p"
  region      = "global"
  key_ring    = "r"
  crypto_key  = "k"
  credentials = "credential:strongroom.seal.credentials"
}`, want: func(c *node.Config) {
			c.Seal = node.Seal{Type: "gcpckms", Options: map[string]string{"project": "p", "region": "global", "key_ring": "r", "crypto_key": "k"},
				Files: []node.SealFile{{Option: "credentials", Reference: "credential:strongroom.seal.credentials", Content: node.ContentJSON}}}
		}},
		"static on OpenBao": {image: bao, src: `seal "static" {
  current_key_id = "2026-1"
  current_key    = "credential:strongroom.seal.key"
}`, want: func(c *node.Config) {
			c.Seal = node.Seal{Type: "static", Options: map[string]string{"current_key_id": "2026-1"},
				Files: []node.SealFile{{Option: "current_key", Reference: "credential:strongroom.seal.key", Indirect: true, Content: node.ContentKey}}}
		}},
		"tls": {src: `tls {
  cert = "https://pki.example.net/node.pem?x=1"
  key  = "file:/etc/strongroom/node.key"
}`, want: func(c *node.Config) {
			c.TLS.Cert, c.TLS.Key = "https://pki.example.net/node.pem?x=1", "file:/etc/strongroom/node.key"
		}},
		"auth": {src: `auth "cert" { mount = "auth/nodes" }`, want: func(c *node.Config) {
			c.Auth = &node.Auth{Method: "cert", Mount: "auth/nodes", Role: "strongroom-node"}
		}},
		"telemetry": {src: `telemetry {
  statsd_address   = "10.3.0.5:8125"
  dogstatsd_addr   = "statsd.example.net:8125"
  dogstatsd_tags   = ["env:prod"]
  metrics_prefix   = "strongroom"
  disable_hostname = false
  basic_auth       = { prometheus = "` + bcrypt + `", "second" = "credential:strongroom.metrics.bcrypt" }
  client_ca        = "credential:strongroom.metrics.ca"
  otlp_endpoint    = "https://collector.example.net:4318/"
  otlp_ca          = "file:/var/lib/hostcheck/otlp.pem"
}`, want: func(c *node.Config) {
			c.Telemetry = node.TelemetryConfig{StatsDAddress: "10.3.0.5:8125", DogStatsDAddr: "statsd.example.net:8125", DogStatsDTags: []string{"env:prod"},
				MetricsPrefix: "strongroom", BasicAuth: map[string]string{"prometheus": bcrypt, "second": "credential:strongroom.metrics.bcrypt"}, ClientCA: "credential:strongroom.metrics.ca",
				OTLPEndpoint: "https://collector.example.net:4318", OTLPCA: "file:/var/lib/hostcheck/otlp.pem"}
		}},
		"audit": {src: `audit "file" { format = "json" }
audit "syslog" {}
audit "socket" { address = "10.3.0.6:601" }`, want: func(c *node.Config) {
			c.Audit = []node.AuditDevice{{Type: "file", Options: map[string]string{"format": "json"}}, {Type: "syslog"},
				{Type: "socket", Options: map[string]string{"address": "10.3.0.6:601", "socket_type": "tcp"}}}
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if c.image == (node.Image{}) {
				c.image = image
			}
			want, err := node.Parse("node.hcl", []byte(top), c.image)
			if err != nil {
				t.Fatal(err)
			}
			if c.want != nil {
				c.want(want)
			}
			got, err := node.Parse("node.hcl", []byte(top+c.src), c.image)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(want.Firewall.Egress[0])); diff != "" {
				t.Errorf("config (-want +got):\n%s", diff)
			}
		})
	}
}

// Each case has one block; mistakes are told by line and by a part of the text.
func TestBlockMistakes(t *testing.T) {
	cases := map[string]struct {
		src  string
		want map[int]string // line → text
	}{
		"recovery, the private key":    {"recovery {\n  recipients = [\"AGE-SECRET-KEY-1PLANTED\"]\n  deliver_to = [\"node\"]\n}", map[int]string{9: "no public key of age"}},
		"recovery, no key":             {"recovery {\n  recipients = [\"age1mzl23z83037m3mv3l7uvjnwjzc37j53yenl833232ax458x0vvpsqqp3g\"]\n  deliver_to = [\"node\"]\n}", map[int]string{9: "no public key of age"}},
		"recovery, for nobody":         {"recovery {\n  recipients = []\n  deliver_to = [\"node\"]\n}", map[int]string{9: "names nobody"}},
		"recovery, twice":              {"recovery {\n  recipients = [\"age1mzl23z83037m3mv3l7uvjnwjzc37j53yenl833232ax458x0vvpsqqp3gr\", \"age1mzl23z83037m3mv3l7uvjnwjzc37j53yenl833232ax458x0vvpsqqp3gr\"]\n  deliver_to = [\"node\"]\n}", map[int]string{9: "there twice"}},
		"recovery, nowhere":            {"recovery {\n  recipients = [\"age1mzl23z83037m3mv3l7uvjnwjzc37j53yenl833232ax458x0vvpsqqp3gr\"]\n  deliver_to = []\n}", map[int]string{10: "names no place"}},
		"recovery, in the clear":       {"recovery {\n  recipients = [\"age1mzl23z83037m3mv3l7uvjnwjzc37j53yenl833232ax458x0vvpsqqp3gr\"]\n  deliver_to = [\"http://a/b/\"]\n}", map[int]string{10: "neither"}},
		"recovery, to a file":          {"recovery {\n  recipients = [\"age1mzl23z83037m3mv3l7uvjnwjzc37j53yenl833232ax458x0vvpsqqp3gr\"]\n  deliver_to = [\"https://a/b\"]\n}", map[int]string{10: "neither"}},
		"recovery, with a query":       {"recovery {\n  recipients = [\"age1mzl23z83037m3mv3l7uvjnwjzc37j53yenl833232ax458x0vvpsqqp3gr\"]\n  deliver_to = [\"https://a/b/?token=PLANTED\"]\n}", map[int]string{10: "neither"}},
		"recovery, shut out":           {"recovery {\n  recipients = [\"age1mzl23z83037m3mv3l7uvjnwjzc37j53yenl833232ax458x0vvpsqqp3gr\"]\n  deliver_to = [\"https://10.4.0.1/b/\"]\n}", map[int]string{10: "not in firewall.egress"}},
		"logs, shut out":               {"logs {\n  receiver = \"https://logs.example.net:19532\"\n}", map[int]string{8: "firewall.log_receivers is empty"}},
		"logs, nowhere":                {"logs {\n}", map[int]string{8: "receiver"}},
		"logs, in the clear":           {"logs {\n  receiver = \"http://logs.example.net:19532\"\n}", map[int]string{9: "not an https URL of a host and a port", 8: "firewall.log_receivers is empty"}},
		"logs, without a port":         {"logs {\n  receiver = \"https://logs.example.net\"\n}", map[int]string{9: "not an https URL of a host and a port", 8: "firewall.log_receivers is empty"}},
		"logs, with a path":            {"logs {\n  receiver = \"https://logs.example.net:19532/upload\"\n}", map[int]string{9: "not an https URL of a host and a port", 8: "firewall.log_receivers is empty"}},
		"raft out of range":            {"raft {\n  performance_multiplier = \"11\"\n}", map[int]string{9: "not a number from 1 to 10"}},
		"raft with zeros":              {"raft {\n  performance_multiplier = \"05\"\n}", map[int]string{9: "not a number from 1 to 10"}},
		"raft with a number":           {"raft {\n  performance_multiplier = 5\n}", map[int]string{9: "performance_multiplier"}},
		"raft with another key":        {"raft {\n  trailing_logs = \"5\"\n}", map[int]string{9: "unknown key"}},
		"memory lock of another image": {`memory_lock = "on"`, map[int]string{8: "this image was baked with off"}},
		"a collector in the clear":     {`telemetry { otlp_endpoint = "http://10.3.0.5:4318" }`, map[int]string{8: "not an https URL without a path"}},
		"a collector with a path":      {`telemetry { otlp_endpoint = "https://collector.example.net/v1/metrics" }`, map[int]string{8: "not an https URL without a path"}},
		"a collector that is cut off":  {`telemetry { otlp_endpoint = "https://192.0.2.5:4318" }`, map[int]string{8: "not in firewall.egress"}},
		"on drift":                     {`on_drift = "restart"`, map[int]string{8: "neither report nor stop"}},
		"memory lock":                  {`memory_lock = "yes"`, map[int]string{8: "neither on nor off"}},
		"join without a member":        {"join {\n}", map[int]string{8: "names no member"}},
		"leader without an address":    {"join {\n  leader {\n  }\n}", map[int]string{9: "address"}},
		"leader in the clear":          {"join {\n  leader { address = \"http://a:8200\" }\n}", map[int]string{9: "not https"}},
		"second leader is wrong":       {"join {\n  leader { address = \"https://a:8200\" }\n  leader {\n    address = \"https://a\"\n  }\n}", map[int]string{11: "port is missing"}},
		"leader that is shut out":      {"join {\n  leader { address = \"https://10.9.9.9:8200\" }\n}", map[int]string{9: "not in firewall.cluster_peers"}},
		"unknown key of a leader":      {"join {\n  leader {\n    address = \"https://a:8200\"\n    adress = \"x\"\n  }\n}", map[int]string{11: `unknown key "adress"`}},
		"auto_join without a provider": {"join {\n  auto_join = \"tag_key=x\"\n}", map[int]string{9: "names no provider"}},
		"auto_join without a tag":      {"join {\n  auto_join = \"provider=aws tag_key=x\"\n}", map[int]string{9: "needs tag_value"}},
		"auto_join of another cloud":   {"join {\n  srv = \"a.b\"\n  auto_join = \"provider=mdns service=_vault\"\n}", map[int]string{10: "no provider \"mdns\""}},
		"auto_join with a key":         {"join {\n  auto_join = \"provider=aws secret_access_key=PLANTED\"\n}", map[int]string{9: "holds secret_access_key="}},
		"srv":                          {"join {\n  srv = \"vault\"\n}", map[int]string{9: "not a DNS name"}},
		"scheme":                       {"join {\n  srv = \"a.b\"\n  scheme = \"http\"\n}", map[int]string{10: "TLS only"}},
		"port":                         {"join {\n  srv = \"a.b\"\n  port = \"x\"\n}", map[int]string{10: "not a port"}},
		"port as a number":             {"join {\n  srv = \"a.b\"\n  port = 8200\n}", map[int]string{10: "port is neither a string"}},
		"server name":                  {"join {\n  srv = \"a.b\"\n  server_name = \"a b\"\n}", map[int]string{10: "not a host name"}},
		"static on Vault":              {`seal "static" {}`, map[int]string{8: `seal "static" is not one that vault has here`}},
		"transit, nothing given":       {`seal "transit" {}`, map[int]string{8: "address is missing"}},
		"transit, unknown key":         {"seal \"transit\" {\n  address = \"https://a:1\"\n  key_name = \"k\"\n  token = \"credential:strongroom.seal.token\"\n  tls_skip_verify = true\n}", map[int]string{12: `unknown key "tls_skip_verify" of seal transit`}},
		"transit, token in the file":   {"seal \"transit\" {\n  address = \"https://a:1\"\n  key_name = \"k\"\n  token = \"hvs.PLANTED\"\n}", map[int]string{11: "token is not a reference"}},
		"transit, shut out":            {"seal \"transit\" {\n  address = \"https://10.4.0.1:1\"\n  key_name = \"k\"\n  token = \"credential:strongroom.seal.token\"\n}", map[int]string{9: "not in firewall.egress"}},
		"transit, in the clear":        {"seal \"transit\" {\n  address = \"http://a:1\"\n  key_name = \"k\"\n  token = \"credential:strongroom.seal.token\"\n}", map[int]string{9: "not https"}},
		"transit, half a client":       {"seal \"transit\" {\n  address = \"https://a:1\"\n  key_name = \"k\"\n  token = \"credential:strongroom.seal.token\"\n  client_key = \"credential:strongroom.seal.client.key\"\n}", map[int]string{12: "client_key without client_cert"}},
		"transit, not a boolean":       {"seal \"transit\" {\n  address = \"https://a:1\"\n  key_name = \"k\"\n  token = \"credential:strongroom.seal.token\"\n  disable_renewal = \"true\"\n}", map[int]string{12: "neither true nor false"}},
		"transit, an expression":       {"seal \"transit\" {\n  address = \"https://a:1\"\n  key_name = \"${x}\"\n  token = \"credential:strongroom.seal.token\"\n}", map[int]string{10: "key_name is not a string"}},
		"transit, a block":             {"seal \"transit\" {\n  address = \"https://a:1\"\n  key_name = \"k\"\n  token = \"credential:strongroom.seal.token\"\n  tls {}\n}", map[int]string{12: `unknown block "tls" in seal transit`}},
		"an option that is read":       {"seal \"awskms\" {\n  kms_key_id = \"file:///etc/x\"\n  region = \"r\"\n}", map[int]string{9: "kms_key_id is a URL"}},
		"an option that is empty":      {"seal \"awskms\" {\n  kms_key_id = \"\"\n  region = \"r\"\n}", map[int]string{9: "kms_key_id is empty"}},
		"environment of azure":         {"seal \"azurekeyvault\" {\n  tenant_id = \"t\"\n  vault_name = \"v\"\n  key_name = \"k\"\n  environment = \"X\"\n}", map[int]string{12: "AZUREPUBLICCLOUD"}},
		"endpoint":                     {"seal \"ocikms\" {\n  key_id = \"k\"\n  crypto_endpoint = \"http://x\"\n  management_endpoint = \"https://y\"\n}", map[int]string{10: "https URL"}},
		"reference":                    {"tls {\n  cert = \"PLANTED\"\n}", map[int]string{9: "cert is not a reference"}},
		"reference to a directory up":  {"tls {\n  cert = \"file:/a/../b\"\n}", map[int]string{9: "absolute, clean path"}},
		"reference to a name":          {"tls {\n  cert = \"credential:../x\"\n}", map[int]string{9: "does not load"}},
		"reference with a password":    {"tls {\n  cert = \"https://u:PLANTED@a/b\"\n}", map[int]string{9: "may be fetched"}},
		"reference in the clear":       {"tls {\n  cert = \"http://a/b\"\n}", map[int]string{9: "not a reference"}},
		"auth":                         {`auth "token" {}`, map[int]string{8: "not a method"}},
		"role":                         {"auth \"cert\" {\n  role = \"a/b\"\n}", map[int]string{9: "not a name"}},
		"mount":                        {"auth \"cert\" {\n  mount = \"../sys\"\n}", map[int]string{9: "not a name"}},
		"statsd":                       {"telemetry {\n  statsd_address = \"10.3.0.5\"\n}", map[int]string{9: "host:port"}},
		"statsd that is shut out":      {"telemetry {\n  statsd_address = \"10.4.0.5:8125\"\n}", map[int]string{9: "not in firewall.egress"}},
		"tag":                          {"telemetry {\n  dogstatsd_tags = [\"a,b\"]\n}", map[int]string{9: "not a tag"}},
		"hostname":                     {"telemetry {\n  disable_hostname = \"true\"\n}", map[int]string{9: "neither true nor false"}},
		"prefix":                       {"telemetry {\n  metrics_prefix = \"a b\"\n}", map[int]string{9: "not a prefix"}},
		"users as a list":              {"telemetry {\n  basic_auth = [\"a\"]\n}", map[int]string{9: "object of strings"}},
		"user with an expression":      {"telemetry {\n  basic_auth = { (x) = \"a\" }\n}", map[int]string{9: "object of strings"}},
		"password":                     {"telemetry {\n  basic_auth = { a = \"PLANTED\" }\n}", map[int]string{9: "no bcrypt hash"}},
		"audit":                        {`audit "kafka" {}`, map[int]string{8: "not a device"}},
		"audit twice":                  {"audit \"file\" {}\naudit \"file\" {}", map[int]string{9: "a second audit"}},
		"audit in the clear":           {"audit \"file\" {\n  log_raw = true\n}", map[int]string{9: `unknown key "log_raw"`}},
		"audit path":                   {"audit \"file\" {\n  file_path = \"/etc/x\"\n}", map[int]string{9: `unknown key "file_path"`}},
		"audit without a label":        {`audit {}`, map[int]string{8: "missing"}},
		"two seals":                    {"seal \"shamir\" {}\nseal \"shamir\" {}", map[int]string{9: "duplicate"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := node.Parse("node.hcl", []byte(top+c.src), image)
			var got node.Mistakes
			if !errors.As(err, &got) {
				t.Fatalf("got %v, want mistakes", err)
			}
			if strings.Contains(err.Error(), "PLANTED") {
				t.Errorf("a secret is repeated: %v", err)
			}
			lines := map[int]string{}
			for _, m := range got {
				lines[m.Line] += m.String()
				if m.Hint == "" {
					t.Errorf("no hint: %v", m)
				}
			}
			if !slices.Equal(slices.Sorted(maps.Keys(lines)), slices.Sorted(maps.Keys(c.want))) {
				t.Errorf("mistakes on other lines:\n%v", err)
			}
			for line, text := range c.want {
				if !strings.Contains(lines[line], text) {
					t.Errorf("line %d lacks %q:\n%v", line, text, err)
				}
			}
		})
	}
}

// A join into a cluster whose members the firewall keeps away never comes to an end.
func TestJoinNeedsPeers(t *testing.T) {
	src := strings.Replace(top, `cluster_peers = ["10.1.2.0/24"]`, "", 1) + `join { srv = "a.b" }`
	if _, err := node.Parse("node.hcl", []byte(src), image); err == nil || !strings.Contains(err.Error(), "cluster_peers is empty") {
		t.Errorf("got %v", err)
	}
}

func FuzzReference(f *testing.F) {
	for _, seed := range []string{"credential:strongroom.seal.token", "file:/a/b", "file:///a", "https://a/b?c=d", "https://[::1]:8/", "credential:../x", "file:/..", "https://u@h/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, problem, hint := node.ParseReference(text)
		if problem != "" {
			if r != "" || hint == "" {
				t.Fatalf("%q: %q, %q, %q", text, r, problem, hint)
			}
			return
		}
		kind, target := r.Split()
		again, problem, _ := node.ParseReference(string(r))
		if again != r || problem != "" || target == "" {
			t.Fatalf("%q is %q, and then %q: %s", text, r, again, problem)
		}
		if kind == "credential" && strings.ContainsAny(target, "/\x00") || kind == "file" && target[0] != '/' {
			t.Fatalf("%q names %s %q", text, kind, target)
		}
	})
}
