package node

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// SnapshotDirectory is where snapshots lie on the node itself. A volume may be mounted there.
const SnapshotDirectory = "/var/lib/hostcheck/snapshots"

// CredentialSnapshotToken is a token of the server that may do nothing but read a snapshot.
const CredentialSnapshotToken = "strongroom.snapshot.token"

// SnapshotCredentialNames are the credentials of hostcheck-snapshot.service beside those of TLS. Of other units only that of the first start loads
// them, which takes the first snapshot: what the network talks to, the agent, can neither read a snapshot nor delete one.
var SnapshotCredentialNames = []string{CredentialSnapshotToken, "strongroom.snapshot.access", "strongroom.snapshot.secret", "strongroom.snapshot.session"}

// Snapshot says how the cluster is backed up. It holds no secret.
type Snapshot struct {
	Recipients []string       `json:"recipients"`      // of age: each of them alone can open an archive
	Every      time.Duration  `json:"every"`           // how old the last one in a sink may get
	KeepFor    time.Duration  `json:"keep_for"`        // how old an archive may get
	KeepLeast  int            `json:"keep_least"`      // the newest verified ones that are kept however old they are; 1 or more
	KeepMost   int            `json:"keep_most"`       // 0: as many as there are
	Role       string         `json:"role"`            // of the auth method of the agent, when node.hcl has an auth block
	Token      Reference      `json:"token"`           // in place of a login
	Sinks      []SnapshotSink `json:"sinks,omitempty"` // in the order of the file
}

// SnapshotSink is one place that archives are put to.
type SnapshotSink struct {
	Type       string               `json:"type"` // "file", "s3", "gcs", "azblob"
	Options    map[string]string    `json:"options,omitempty"`
	References map[string]Reference `json:"references,omitempty"` // to what may put there
}

type snapshotSpec struct {
	Recipients []string   `hcl:"recipients"`
	Every      string     `hcl:"every,optional"`
	KeepFor    string     `hcl:"keep_for,optional"`
	KeepLeast  string     `hcl:"keep_least,optional"`
	KeepMost   string     `hcl:"keep_most,optional"`
	Role       string     `hcl:"role,optional"`
	Token      string     `hcl:"token,optional"`
	Sinks      []sinkSpec `hcl:"sink,block"`
}

type sinkSpec struct {
	Type string   `hcl:"type,label"`
	Rest struct{} `hcl:",remain"`
}

// sinkType is a kind of place.
type sinkType struct {
	name    string
	options []option
}

// sinkTypes are the places that archives can be put to. The first one is none that nodes share.
var sinkTypes = []sinkType{
	{"file", []option{{name: "directory", usual: SnapshotDirectory}}},
	{"s3", []option{
		{name: "bucket", required: true},
		{name: "region", usual: "us-east-1"},
		{name: "prefix"},
		{name: "endpoint", kind: kindEndpoint},
		{name: "path_style", kind: kindYesNo},
		{name: "storage_class"},
		{name: "access_key", kind: kindSnapshotSecret},
		{name: "secret_key", kind: kindSnapshotSecret},
		{name: "session_token", kind: kindSnapshotSecret},
	}},
	{"gcs", []option{{name: "bucket", required: true}, {name: "prefix"}}},
	{"azblob", []option{
		{name: "account", required: true},
		{name: "container", required: true},
		{name: "prefix"},
		{name: "endpoint_suffix", usual: "blob.core.windows.net"},
		{name: "client_id"},
	}},
}

// check gives nil without the block.
func (s *snapshotSpec) check(at locator, wrong *Mistakes) *Snapshot {
	if s == nil {
		return nil
	}
	block := at.block("snapshot")
	checkRecipients(block, s.Recipients, "could open a snapshot", wrong)
	out := &Snapshot{
		Recipients: s.Recipients, Role: "strongroom-snapshot", Token: "credential:" + CredentialSnapshotToken,
		Every: 6 * time.Hour, KeepFor: 30 * 24 * time.Hour, KeepLeast: 7,
	}
	for _, d := range []struct {
		name, text string
		least      time.Duration
		to         *time.Duration
	}{{"every", s.Every, 15 * time.Minute, &out.Every}, {"keep_for", s.KeepFor, time.Hour, &out.KeepFor}} {
		if !block.isString(d.name) {
			continue
		}
		value, err := time.ParseDuration(d.text)
		if err != nil || value < d.least || value > 10*365*24*time.Hour {
			wrong.add(block.attribute(d.name), "for example \"6h\"", "%s %q is no time of %s to ten years", d.name, d.text, d.least)
			continue
		}
		*d.to = value
	}
	for _, n := range []struct {
		name, text string
		to         *int
	}{{"keep_least", s.KeepLeast, &out.KeepLeast}, {"keep_most", s.KeepMost, &out.KeepMost}} {
		if !block.isString(n.name) {
			continue
		}
		value, err := strconv.Atoi(n.text)
		if err != nil || value < 1 || value > 10000 {
			wrong.add(block.attribute(n.name), "for example \"7\"; the last verified one is always kept", "%s %q is no number from 1 to 10000", n.name, n.text)
			continue
		}
		*n.to = value
	}
	if out.KeepMost > 0 && out.KeepMost < out.KeepLeast {
		name := "keep_most"
		wrong.add(block.attribute(name), "raise it, or lower keep_least (7 when it is left out)", "keep_most is less than keep_least")
	}
	if block.isString("role") {
		if !apiName(s.Role, false) {
			wrong.add(block.attribute("role"), "letters, digits, dots, dashes and underscores", "role %q is not a name", s.Role)
		}
		out.Role = s.Role
	}
	if block.isString("token") {
		r, problem, hint := parseReference(s.Token, SnapshotCredentialNames)
		if problem != "" {
			wrong.add(block.attribute("token"), hint, "token %s", problem)
		}
		out.Token = r
	}
	out.Sinks = checkSinks(at, block, wrong)
	return out
}

func checkSinks(at, snapshot locator, wrong *Mistakes) []SnapshotSink {
	var out []SnapshotSink
	blocks := snapshot.blocks("sink")
	if len(blocks) == 0 {
		wrong.add(at.start("snapshot"), "add sink \"s3\" { … } or sink \"file\" { }", "snapshot names no sink, so that nothing would be kept")
	}
	for _, block := range blocks {
		if len(block.labels) != 1 {
			continue // reported by the decoder
		}
		sink, ok := storeOf("sink", block, sinkTypes, wrong)
		if !ok {
			continue
		}
		if slices.ContainsFunc(out, func(o SnapshotSink) bool { return o.Name() == sink.Name() }) {
			wrong.add(block.label0(), "leave one of them out", "two sinks are the same place")
		}
		out = append(out, sink)
	}
	return out
}

// storeOf reads a block whose label is one of these places.
func storeOf(what string, block labelled, types []sinkType, wrong *Mistakes) (SnapshotSink, bool) {
	var names []string
	for _, t := range types {
		if names = append(names, t.name); t.name != block.labels[0] {
			continue
		}
		v := options(what+" "+t.name, block.locator, t.options, wrong)
		sink := SnapshotSink{Type: t.name, Options: v.text, References: v.references}
		sink.check(block.locator, wrong)
		return sink, true
	}
	wrong.add(block.label0(), "one of "+strings.Join(names, ", "), "%s %q is no place that is known", what, block.labels[0])
	return SnapshotSink{}, false
}

// check judges what goes beyond one option.
func (s SnapshotSink) check(block locator, wrong *Mistakes) {
	o := s.Options
	if p := o["prefix"]; p != "" && (!apiName(strings.TrimSuffix(p, "/"), true) || !strings.HasSuffix(p, "/")) {
		wrong.add(block.attribute("prefix"), "for example \"vault/prod-eu1/\"", "prefix %q is no path with a slash at its end", p)
	}
	switch s.Type {
	case "gcs":
		if b := o["bucket"]; b != "" && !bucketName(strings.ReplaceAll(b, "_", "-")) {
			wrong.add(block.attribute("bucket"), "3 to 63 small letters, digits, dots, dashes and underscores", "bucket %q is no name of a bucket", b)
		}
	case "azblob":
		if a := o["account"]; a != "" && (len(a) < 3 || len(a) > 24 || strings.Trim(a, "abcdefghijklmnopqrstuvwxyz0123456789") != "") {
			wrong.add(block.attribute("account"), "3 to 24 small letters and digits", "account %q is no name of a storage account", a)
		}
		if c := o["container"]; c != "" && (!bucketName(c) || strings.Contains(c, ".")) {
			wrong.add(block.attribute("container"), "3 to 63 small letters, digits and dashes", "container %q is no name of a container", c)
		}
		// The token of the machine goes there, and nowhere else.
		if !slices.Contains(azureBlobSuffixes, o["endpoint_suffix"]) {
			wrong.add(block.attribute("endpoint_suffix"), "one of "+strings.Join(azureBlobSuffixes, ", "), "endpoint_suffix %q is none of Azure's", o["endpoint_suffix"])
		}
		if c := o["client_id"]; c != "" && !apiName(c, false) {
			wrong.add(block.attribute("client_id"), "the client id of a managed identity, a UUID", "client_id %q is no id", c)
		}
	case "file":
		d := o["directory"]
		if path.Clean(d) != d || d != SnapshotDirectory && !strings.HasPrefix(d, SnapshotDirectory+"/") {
			wrong.add(block.attribute("directory"), "hostcheck may write nowhere else: mount the volume there", "directory is neither %s nor below it", SnapshotDirectory)
		}
	case "s3":
		if b := o["bucket"]; b != "" && !bucketName(b) {
			wrong.add(block.attribute("bucket"), "3 to 63 small letters, digits, dots and dashes", "bucket %q is no name of a bucket", b)
		}
		if r := o["region"]; !apiName(r, false) {
			wrong.add(block.attribute("region"), "for example \"eu-central-1\"", "region %q is not a name", r)
		}
		_, access := s.References["access_key"]
		_, secret := s.References["secret_key"]
		_, session := s.References["session_token"]
		if access != secret || session && !access {
			wrong.add(block.body.SrcRange, "write both, or none: then the role of the instance is used (AWS)", "sink s3: of access_key and secret_key only one is there")
		}
		if _, endpoint := o["endpoint"]; endpoint && !access {
			wrong.add(block.attribute("endpoint"), "add access_key and secret_key", "sink s3: the role of the instance is shown to nobody but AWS itself")
		}
	}
}

// azureBlobSuffixes are those of the public cloud, of the US government's and of China.
var azureBlobSuffixes = []string{"blob.core.windows.net", "blob.core.usgovcloudapi.net", "blob.core.chinacloudapi.cn"}

// Name tells sinks apart, in metrics and messages.
func (s SnapshotSink) Name() string {
	switch s.Type {
	case "file":
		return "file:" + s.Options["directory"]
	case "azblob":
		return fmt.Sprintf("azblob:%s/%s/%s", s.Options["account"], s.Options["container"], s.Options["prefix"])
	default:
		return fmt.Sprintf("%s:%s/%s", s.Type, s.Options["bucket"], s.Options["prefix"])
	}
}

// bucketName is what S3 and those that are compatible with it take.
func bucketName(name string) bool {
	return len(name) >= 3 && len(name) <= 63 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789.-") == "" &&
		!strings.ContainsAny(name[:1]+name[len(name)-1:], ".-") && !strings.Contains(name, "..")
}
