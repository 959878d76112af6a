package node

import (
	"strings"
	"testing"
	"time"
)

const snapshotHead = `cluster { name = "prod" }
api_addr = "https://a.example.net:8200"
cluster_addr = "https://a.example.net:8201"
firewall { 
  egress = ["10.0.0.0/8"] 
}
`

const recipient = "age1mzl23z83037m3mv3l7uvjnwjzc37j53yenl833232ax458x0vvpsqqp3gr"

func TestSnapshot(t *testing.T) {
	c, err := Parse("node.hcl", []byte(snapshotHead+`snapshot {
  recipients = ["`+recipient+`"]
  every = "1h"
  keep_least = "3"
  keep_most = "9"
  sink "file" {}
  sink "s3" {
    bucket = "backup"
    endpoint = "https://10.1.2.3:9000"
    access_key = "credential:strongroom.snapshot.access"
    secret_key = "file:/etc/strongroom/s3"
  }
}`), Image{Server: "vault", ClusterPort: 8201})
	if err != nil {
		t.Fatal(err)
	}
	s := c.Snapshot
	if s.Every != time.Hour || s.KeepFor != 720*time.Hour || s.KeepLeast != 3 || s.KeepMost != 9 || s.Role != "strongroom-snapshot" || len(s.Sinks) != 2 ||
		s.Sinks[0].Name() != "file:"+SnapshotDirectory || s.Sinks[1].Name() != "s3:backup/" || s.Sinks[1].References["secret_key"] != "file:/etc/strongroom/s3" {
		t.Errorf("%+v", s)
	}
}

// Every mistake has its line and the way out, and no secret is repeated.
func TestSnapshotMistakes(t *testing.T) {
	ok := "recipients = [\"" + recipient + "\"]\n"
	for problem, block := range map[string]string{
		"recipients":                          `sink "file" {}`,
		"is no public key of age":             "recipients = [\"AGE-SECRET-KEY-1QQQ\"]\nsink \"file\" {}",
		"names no sink":                       ok,
		"is no place that is known":           ok + `sink "ftp" {}`,
		"the same place":                      ok + "sink \"file\" {}\nsink \"file\" {}",
		"neither " + SnapshotDirectory:        ok + "sink \"file\" {\n directory = \"/etc\"\n}",
		"below it":                            ok + "sink \"file\" {\n directory = \"" + SnapshotDirectory + "/../../x\"\n}",
		"is no time":                          ok + "every = \"1m\"\nsink \"file\" {}",
		"is no number":                        ok + "keep_least = \"0\"\nsink \"file\" {}",
		"less than keep_least":                ok + "keep_most = \"2\"\nsink \"file\" {}",
		"bucket is missing":                   ok + `sink "s3" {}`,
		"is no name of a bucket":              ok + "sink \"s3\" {\n bucket = \"Not_One\"\n}",
		"with a slash at its end":             ok + "sink \"s3\" {\n bucket = \"backup\"\n prefix = \"a\"\n}",
		"only one is there":                   ok + "sink \"s3\" {\n bucket = \"backup\"\n access_key = \"file:/a\"\n}",
		"nobody but AWS":                      ok + "sink \"s3\" {\n bucket = \"backup\"\n endpoint = \"https://s3.example.net\"\n}",
		"is not a https URL":                  ok + "sink \"s3\" {\n bucket = \"backup\"\n endpoint = \"http://s3.example.net\"\n}",
		"is not a reference":                  ok + "sink \"s3\" {\n bucket = \"backup\"\n access_key = \"file:/a\"\n secret_key = \"AKIAGUESS\"\n}",
		"that the node does not load":         ok + "token = \"credential:strongroom.agent.token\"\nsink \"file\" {}",
		"not in firewall.egress":              ok + "sink \"s3\" {\n bucket = \"backup\"\n endpoint = \"https://192.0.2.1\"\n access_key = \"file:/a\"\n secret_key = \"file:/b\"\n}",
		"account is missing":                  ok + "sink \"azblob\" {\n container = \"backup\"\n}",
		"no name of a storage account":        ok + "sink \"azblob\" {\n account = \"a.example.net/\"\n container = \"backup\"\n}",
		"no name of a container":              ok + "sink \"azblob\" {\n account = \"acct\"\n container = \"a/b\"\n}",
		"none of Azure's":                     ok + "sink \"azblob\" {\n account = \"acct\"\n container = \"backup\"\n endpoint_suffix = \"example.net\"\n}",
		"\"Not_One\" is no name of a bucket":  ok + "sink \"gcs\" {\n bucket = \"Not_One\"\n}",
		"prefix \"a\" is no path":             ok + "sink \"gcs\" {\n bucket = \"backup\"\n prefix = \"a\"\n}",
		"unknown key \"retain\" of sink file": ok + "sink \"file\" {\n retain = \"7\"\n}",
	} {
		_, err := Parse("node.hcl", []byte(snapshotHead+"snapshot {\n"+block+"\n}"), Image{Server: "vault", ClusterPort: 8201})
		if err == nil || !strings.Contains(err.Error(), problem) || !strings.Contains(err.Error(), "node.hcl:") || !strings.Contains(err.Error(), "hint") {
			t.Errorf("%s: got %v", problem, err)
		} else if strings.Contains(err.Error(), "AKIAGUESS") || strings.Contains(err.Error(), "QQQ") {
			t.Errorf("%s: a secret is repeated: %v", problem, err)
		}
	}
}
