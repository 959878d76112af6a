package node_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/internal/node"
)

const (
	recipient1 = "age1mzl23z83037m3mv3l7uvjnwjzc37j53yenl833232ax458x0vvpsqqp3gr"
	recipient2 = "age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg"
)

const bootstrapBlock = `bootstrap {
  here      = true
  threshold = "1"
  nodes     = ["*.nodes.example.net"]
  share "alice" {
    age = "` + recipient1 + `"
    sink "vault" {
      address = "https://10.3.0.9:8200"
      path    = "strongroom/alice"
      token   = "credential:strongroom.bootstrap.sink-1"
    }
  }
  login "alice" {
    policy = "admin"
    names  = ["alice.people.example.net"]
  }
  login "glass" {
    policy = "break-glass"
    names  = ["*.glass.example.net"]
  }
  provisioner {
    age = "` + recipient2 + `"
    ttl = "2h"
    sink "file" {
      path = "/var/lib/hostcheck/bootstrap/provisioner/token.json"
    }
  }
  autopilot {
    cleanup_dead_servers = true
  }
}
`

func TestBootstrapBlock(t *testing.T) {
	c, err := node.Parse("node.hcl", []byte(top+bootstrapBlock), node.Image{Server: "vault", ClusterPort: 8201})
	if err != nil {
		t.Fatal(err)
	}
	want := &node.Bootstrap{
		Here: true, Threshold: 1, Nodes: []string{"*.nodes.example.net"},
		Shares: []node.BootstrapShare{{Name: "alice", Age: recipient1, Sink: node.BootstrapSink{Type: "vault", Token: "credential:strongroom.bootstrap.sink-1",
			Options: map[string]string{"address": "https://10.3.0.9:8200", "path": "strongroom/alice", "mount": "secret"}}}},
		Logins: []node.BootstrapLogin{{Name: "alice", Policy: "admin", Names: []string{"alice.people.example.net"}}, {Name: "glass", Policy: "break-glass", Names: []string{"*.glass.example.net"}}},
		Provisioner: node.Provisioner{Age: recipient2, TTL: 2 * time.Hour, Wrap: 24 * time.Hour,
			Sink: node.BootstrapSink{Type: "file", Options: map[string]string{"path": "/var/lib/hostcheck/bootstrap/provisioner/token.json"}}},
		Autopilot: node.Autopilot{CleanupDeadServers: true, MinQuorum: 3, DeadAfter: 24 * time.Hour},
	}
	if d := cmp.Diff(want, c.Bootstrap); d != "" {
		t.Error(d)
	}
}

func TestLockStore(t *testing.T) {
	src := strings.Replace(bootstrapBlock, "here      = true", "lock_store \"s3\" {\n    bucket = \"start\"\n    region = \"eu-central-1\"\n    prefix = \"vault/prod/\"\n  }", 1)
	c, err := node.Parse("node.hcl", []byte(top+src), node.Image{Server: "vault", ClusterPort: 8201})
	if err != nil {
		t.Fatal(err)
	}
	if s := c.Bootstrap.LockStore; c.Bootstrap.Here || s == nil || s.Name() != "s3:start/vault/prod/" || s.Options["region"] != "eu-central-1" {
		t.Errorf("%+v", s)
	}
}

func TestBootstrapMistakes(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"both ways":          {"here      = true", "here = true\n  lock = \"/var/lib/hostcheck/bootstrap/lock\"", "in 2 ways which node"},
		"three ways":         {"here      = true", "here = true\n  lock = \"/var/lib/hostcheck/bootstrap/lock\"\n  lock_store \"gcs\" {\n    bucket = \"start\"\n  }", "in 3 ways which node"},
		"lock in a file":     {"here      = true", "lock_store \"file\" {\n  }", `lock_store "file" is no place`},
		"lock, no bucket":    {"here      = true", "lock_store \"s3\" {\n  }", "bucket is missing"},
		"two locks":          {"here      = true", "lock_store \"gcs\" {\n    bucket = \"start\"\n  }\n  lock_store \"gcs\" {\n    bucket = \"other\"\n  }", "in 2 ways which node"},
		"lock far away":      {"here      = true", "lock_store \"s3\" {\n    bucket = \"start\"\n    endpoint = \"https://10.4.0.9\"\n    access_key = \"credential:strongroom.snapshot.access\"\n    secret_key = \"credential:strongroom.snapshot.secret\"\n  }", "is not in firewall.egress"},
		"lock elsewhere":     {"here      = true", "lock = \"/tmp\"", "lock is not below"},
		"threshold":          {`threshold = "1"`, `threshold = "2"`, "is not a number from 1 to 1"},
		"everybody":          {`nodes     = ["*.nodes.example.net"]`, `nodes = ["*"]`, "no DNS name"},
		"nobody":             {`nodes     = ["*.nodes.example.net"]`, `nodes = []`, "admits nobody"},
		"no holder":          {`age = "` + recipient1 + `"`, "", "needs one of age and pgp"},
		"a private key":      {recipient1, "AGE-SECRET-KEY-1QQQ", "no public key of age"},
		"pgp is none":        {`age = "` + recipient1 + `"`, `pgp = "bm90aGluZyBvZiB0aGF0IGtpbmQ="`, "not the base64 of a public key"},
		"pgp is private":     {`age = "` + recipient1 + `"`, `pgp = "lQHYBGAAAAABBADxxxxxxxxxxxxx"`, "does not begin with a public key"},
		"a token":            {"credential:strongroom.bootstrap.sink-1", "hvs.secret", "token is not a reference"},
		"another credential": {"credential:strongroom.bootstrap.sink-1", "credential:strongroom.tls.key", "does not load"},
		"no token":           {`token   = "credential:strongroom.bootstrap.sink-1"`, "", "token is missing"},
		"a key of another":   {`sink "file" {`, "sink \"file\" {\n mount = \"x\"", `unknown key "mount" of sink file`},
		"a file elsewhere":   {"/var/lib/hostcheck/bootstrap/provisioner/token.json", "/var/lib/hostcheck/token.json", "path is not below"},
		"no such sink":       {`sink "file"`, `sink "floppy"`, "no place that is known"},
		"unreachable":        {"https://10.3.0.9:8200", "https://10.4.0.9:8200", "is not in firewall.egress"},
		"no break-glass":     {`policy = "break-glass"`, `policy = "provisioner"`, "no login has policy break-glass"},
		"no such policy":     {`policy = "admin"`, `policy = "root"`, `policy "root" is not known`},
		"a file elsewhere, by transit": {`sink "file" {
      path = "/var/lib/hostcheck/bootstrap/provisioner/token.json"`, `sink "transit" {
      address = "https://10.3.0.9:8200"
      key     = "shares"
      token   = "credential:strongroom.bootstrap.sink-2"
      path    = "/tmp/token.json"`, "path is not below"},
		"transit, a key with slashes": {`sink "file" {`, "sink \"transit\" {\n address = \"https://10.3.0.9:8200\"\n token = \"credential:strongroom.bootstrap.sink-2\"\n key = \"a/b\"", `key "a/b" is not a name`},
		"a cloud":                     {`sink "file" {`, "sink \"azure_key_vault\" {\n name = \"a_b\"\n vault_name = \"prod\"", `name "a_b" is not a name`},
		"a cloud, a region":           {`sink "file" {`, "sink \"aws_secrets_manager\" {\n name = \"a/b\"\n region = \"x.example.net\"", `region "x.example.net" is not a name`},
		"a cloud, nothing":            {`sink "file" {`, "sink \"gcp_secret_manager\" {\n name = \"a\"", `project is missing`},
		"ttl":                         {`ttl = "2h"`, `ttl = "2s"`, "is no time of"},
		"unknown":                     {"autopilot {", "autopilot {\n  more = \"1\"", `unknown key "more"`},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(bootstrapBlock, c.from) {
				t.Fatal("the test changes nothing")
			}
			_, err := node.Parse("node.hcl", []byte(top+strings.Replace(bootstrapBlock, c.from, c.to, 1)), node.Image{Server: "vault", ClusterPort: 8201})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err != nil && (strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), "hvs.")) {
				t.Errorf("it repeats a secret: %v", err)
			}
		})
	}
}
