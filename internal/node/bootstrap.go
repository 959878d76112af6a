package node

import (
	"encoding/base64"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// BootstrapDirectory holds what the first start of a cluster leaves on the node. Volumes for shares are mounted below it.
const BootstrapDirectory = "/var/lib/hostcheck/bootstrap"

// CredentialBootstrapToken is a root token that key holders have generated, for a first start that cannot go on without one.
const CredentialBootstrapToken = "strongroom.bootstrap.token"

// BootstrapCredentialNames are the credentials of hostcheck bootstrap beside those of TLS.
var BootstrapCredentialNames = []string{
	CredentialBootstrapToken,
	"strongroom.bootstrap.sink-1", "strongroom.bootstrap.sink-2", "strongroom.bootstrap.sink-3", "strongroom.bootstrap.sink-4", "strongroom.bootstrap.sink-5",
	"strongroom.bootstrap.sink-6", "strongroom.bootstrap.sink-7",
}

// Bootstrap is how a cluster is started for the first time. It holds no secret.
type Bootstrap struct {
	Here bool   `json:"here"`           // this node initialises, and no other one has this set
	Lock string `json:"lock,omitempty"` // a directory on a volume that all candidates share: the first one initialises
	// LockStore is an object store in which the first of all candidates that have the same block leaves its name; nil: there is none.
	LockStore   *SnapshotSink    `json:"lock_store,omitempty"`
	Threshold   int              `json:"threshold"` // how many shares are needed
	Shares      []BootstrapShare `json:"shares"`    // in the order of the file
	Nodes       []string         `json:"nodes"`     // DNS names of the nodes' certificates; may hold *
	Logins      []BootstrapLogin `json:"logins"`    // for people, by certificate
	Provisioner Provisioner      `json:"provisioner"`
	Autopilot   Autopilot        `json:"autopilot"`
}

// BootstrapShare is one share of the recovery key (of the unseal key with seal shamir), whose it is and where it goes.
type BootstrapShare struct {
	Name string        `json:"name"`
	Age  string        `json:"age,omitempty"` // public key of age: "age1…"
	PGP  string        `json:"pgp,omitempty"` // public key of OpenPGP: base64 of its binary form
	Sink BootstrapSink `json:"sink"`
}

// BootstrapLogin is a role of the auth method cert.
type BootstrapLogin struct {
	Name   string    `json:"name"`
	Policy string    `json:"policy"` // one of BootstrapPolicies
	Names  []string  `json:"names"`  // DNS names of the certificate; may hold *
	CA     Reference `json:"ca,omitempty"`
}

// BootstrapPolicies are what a login can have.
var BootstrapPolicies = []string{"admin", "provisioner", "break-glass"}

// Provisioner is the token that sets up the rest: engines, auth methods, policies.
type Provisioner struct {
	Age  string        `json:"age"`
	TTL  time.Duration `json:"ttl"`  // of the token
	Wrap time.Duration `json:"wrap"` // in which it must be unwrapped
	Sink BootstrapSink `json:"sink"`
}

// Autopilot is how Raft looks after its members; the names are the server's own.
type Autopilot struct {
	CleanupDeadServers bool          `json:"cleanup_dead_servers"`
	MinQuorum          int           `json:"min_quorum"`
	DeadAfter          time.Duration `json:"dead_server_last_contact_threshold"`
}

// BootstrapSink is a place that one secret is delivered to.
type BootstrapSink struct {
	Type    string            `json:"type"` // "file", "vault", "transit", "aws_secrets_manager", "gcp_secret_manager", "azure_key_vault"
	Options map[string]string `json:"options"`
	Token   Reference         `json:"token,omitempty"`
	CA      Reference         `json:"ca,omitempty"`
}

type bootstrapSpec struct {
	Here        *bool            `hcl:"here,optional"`
	Lock        string           `hcl:"lock,optional"`
	LockStores  []sinkSpec       `hcl:"lock_store,block"`
	Threshold   string           `hcl:"threshold"`
	Nodes       []string         `hcl:"nodes"`
	Shares      []shareSpec      `hcl:"share,block"`
	Logins      []loginSpec      `hcl:"login,block"`
	Provisioner *provisionerSpec `hcl:"provisioner,block"`
	Autopilot   *autopilotSpec   `hcl:"autopilot,block"`
}

type shareSpec struct {
	Name  string              `hcl:"name,label"`
	Age   string              `hcl:"age,optional"`
	PGP   string              `hcl:"pgp,optional"`
	Sinks []bootstrapSinkSpec `hcl:"sink,block"`
}

type loginSpec struct {
	Name   string   `hcl:"name,label"`
	Policy string   `hcl:"policy"`
	Names  []string `hcl:"names"`
	CA     string   `hcl:"ca,optional"`
}

type provisionerSpec struct {
	Age   string              `hcl:"age"`
	TTL   string              `hcl:"ttl,optional"`
	Wrap  string              `hcl:"wrap,optional"`
	Sinks []bootstrapSinkSpec `hcl:"sink,block"`
}

type autopilotSpec struct {
	Cleanup   *bool  `hcl:"cleanup_dead_servers,optional"`
	MinQuorum string `hcl:"min_quorum,optional"`
	DeadAfter string `hcl:"dead_server_last_contact_threshold,optional"`
}

type bootstrapSinkSpec struct {
	Type       string `hcl:"type,label"`
	Path       string `hcl:"path,optional"`
	Address    string `hcl:"address,optional"`
	Mount      string `hcl:"mount,optional"`
	Key        string `hcl:"key,optional"`
	Namespace  string `hcl:"namespace,optional"`
	ServerName string `hcl:"server_name,optional"`
	Token      string `hcl:"token,optional"`
	CA         string `hcl:"ca,optional"`
	Name       string `hcl:"name,optional"`
	Region     string `hcl:"region,optional"`
	Project    string `hcl:"project,optional"`
	VaultName  string `hcl:"vault_name,optional"`
}

// bootstrapSinks are the places, with what each needs and what it may have.
var bootstrapSinks = []struct {
	name             string
	needed, optional []string
}{
	{"file", []string{"path"}, nil},
	{"vault", []string{"address", "path", "token"}, []string{"mount", "namespace", "server_name", "ca"}},
	{"transit", []string{"address", "key", "path", "token"}, []string{"mount", "namespace", "server_name", "ca"}},
	{"aws_secrets_manager", []string{"name", "region"}, nil},
	{"gcp_secret_manager", []string{"name", "project"}, nil},
	{"azure_key_vault", []string{"name", "vault_name"}, nil},
}

const maxShares = 20

// check gives nil without the block.
func (s *bootstrapSpec) check(at locator, wrong *Mistakes) *Bootstrap {
	if s == nil {
		return nil
	}
	block := at.block("bootstrap")
	b := &Bootstrap{Here: s.Here != nil && *s.Here, Lock: s.Lock, Nodes: s.Nodes}
	if block.isString("lock") {
		below(block, "lock", s.Lock, wrong)
	}
	b.LockStore = checkLockStore(block, wrong)
	ways := len(block.blocks("lock_store"))
	for _, one := range []bool{b.Here, block.has("lock")} {
		if one {
			ways++
		}
	}
	if ways > 1 {
		wrong.add(at.start("bootstrap"), "with here = true exactly one node has the flag; with lock or lock_store all candidates have the same block",
			"bootstrap says in %d ways which node initialises", ways)
	}
	var places []string
	place := func(sink BootstrapSink, at locator) {
		if name := sink.place(); name != "" {
			if slices.Contains(places, name) {
				wrong.add(at.body.SrcRange, "each secret has a place of its own", "two secrets go to the same place")
			}
			places = append(places, name)
		}
	}
	b.Shares = checkShares(block, s.Shares, place, wrong)
	b.Threshold = checkCount(block, "threshold", s.Threshold, 1, max(1, len(s.Shares)), wrong)
	if b.Threshold == 1 && len(s.Shares) > 1 {
		wrong.add(block.attribute("threshold"), "write \"2\" or more; the servers refuse 1 of several", "with threshold 1 each share is the whole key")
	}
	checkNames(block, "nodes", s.Nodes, wrong)
	b.Logins = checkLogins(at, block, s.Logins, wrong)
	b.Provisioner = s.Provisioner.check(at, block, place, wrong)
	b.Autopilot = s.Autopilot.check(block, wrong)
	return b
}

// checkLockStore gives nil without the block.
func checkLockStore(block locator, wrong *Mistakes) *SnapshotSink {
	blocks := block.blocks("lock_store")
	if len(blocks) != 1 || len(blocks[0].labels) != 1 {
		return nil // reported elsewhere
	}
	store, ok := storeOf("lock_store", blocks[0], sinkTypes[1:], wrong)
	if !ok {
		return nil
	}
	return &store
}

func checkShares(block locator, specs []shareSpec, place func(BootstrapSink, locator), wrong *Mistakes) []BootstrapShare {
	var out []BootstrapShare
	blocks := block.blocks("share")
	if len(blocks) == 0 {
		wrong.add(block.body.SrcRange, "share \"NAME\" { age = \"age1…\", sink \"file\" { … } } for each key holder", "bootstrap has no share, so that nobody would hold a key")
	}
	if len(blocks) > maxShares {
		wrong.add(block.body.SrcRange, "five of which three are needed is usual", "bootstrap has more than %d shares", maxShares)
	}
	for i, spec := range specs {
		at := blocks.at(i)
		if !apiName(spec.Name, false) {
			wrong.add(at.body.SrcRange, "letters, digits, dots, dashes and underscores", "share %q is not a name", spec.Name)
		}
		share := BootstrapShare{Name: spec.Name, Age: spec.Age, PGP: spec.PGP, Sink: checkSink(at, spec.Sinks, wrong)}
		place(share.Sink, at)
		switch {
		case at.has("age") == at.has("pgp"):
			wrong.add(at.body.SrcRange, "the public key of its holder: age = \"age1…\" or pgp = \"BASE64\"", "share %q needs one of age and pgp", spec.Name)
		case at.isString("age"):
			checkRecipient(at, spec.Age, wrong)
		case at.isString("pgp"):
			if key, err := base64.StdEncoding.DecodeString(spec.PGP); err != nil || len(key) < 16 || key[0]&0x80 == 0 {
				wrong.add(at.attribute("pgp"), "gpg --export FINGERPRINT | base64 -w0", "pgp is not the base64 of a public key in its binary form")
			} else if tag := packetTag(key[0]); tag != 6 {
				wrong.add(at.attribute("pgp"), "gpg --export FINGERPRINT | base64 -w0; if it is the private key: make a new one", "pgp does not begin with a public key")
			}
		}
		for _, other := range out {
			if other.Name == share.Name {
				wrong.add(at.body.SrcRange, "one name for each holder", "a second share %q", share.Name)
			}
			if other.Age != "" && other.Age == share.Age || other.PGP != "" && other.PGP == share.PGP {
				wrong.add(at.body.SrcRange, "one key for each share: whoever has two shares counts twice", "shares %q and %q have the same holder", other.Name, share.Name)
			}
			if (other.Age == "") != (share.Age == "") {
				wrong.add(at.body.SrcRange, "the server encrypts all shares (pgp) or none (age): use one kind", "share %q has a key of another kind than share %q", share.Name, other.Name)
			}
		}
		out = append(out, share)
	}
	return out
}

// packetTag is the kind of an OpenPGP packet (RFC 9580, section 4.2), by its first byte.
func packetTag(first byte) byte {
	if first&0x40 != 0 {
		return first & 0x3f
	}
	return first >> 2 & 0xf
}

func checkRecipient(at locator, text string, wrong *Mistakes) {
	if _, err := ParseRecipient(text); err != nil {
		hint := "the public key that age-keygen prints: \"age1…\""
		if strings.HasPrefix(strings.ToUpper(text), "AGE-SECRET-KEY-") {
			hint = "this is the private key, which nobody but its owner may have: make a new one, and write down its public key"
		}
		wrong.add(at.attribute("age"), hint, "age is no public key of age")
	}
}

// checkSink gives the one sink of a block.
func checkSink(at locator, specs []bootstrapSinkSpec, wrong *Mistakes) BootstrapSink {
	blocks := at.blocks("sink")
	if len(specs) != 1 {
		wrong.add(at.body.SrcRange, "sink \"file\" { path = \""+BootstrapDirectory+"/…\" } or sink \"vault\" { … }", "there are %d sinks, where one is needed", len(specs))
		return BootstrapSink{}
	}
	spec, block := specs[0], blocks.at(0)
	i := 0
	var names []string
	for i = range bootstrapSinks {
		if names = append(names, bootstrapSinks[i].name); bootstrapSinks[i].name == spec.Type {
			break
		}
	}
	kind := bootstrapSinks[i]
	if kind.name != spec.Type {
		wrong.add(blocks[0].label0(), "one of "+strings.Join(names, ", "), "sink %q is no place that is known", spec.Type)
		return BootstrapSink{}
	}
	for _, name := range kind.needed {
		if !block.has(name) {
			wrong.add(block.body.SrcRange, "every sink \""+kind.name+"\" needs it", "sink %s: %s is missing", kind.name, name)
		}
	}
	for name, attr := range block.body.Attributes {
		if !slices.Contains(kind.needed, name) && !slices.Contains(kind.optional, name) {
			wrong.add(attr.NameRange, knownNames(slices.Concat(kind.needed, kind.optional), nil), "unknown key %q of sink %s", name, kind.name)
		}
	}
	sink := BootstrapSink{Type: spec.Type, Options: map[string]string{}}
	for name, value := range map[string]string{"path": spec.Path, "address": spec.Address, "mount": spec.Mount, "key": spec.Key, "namespace": spec.Namespace, "server_name": spec.ServerName,
		"name": spec.Name, "region": spec.Region, "project": spec.Project, "vault_name": spec.VaultName} {
		if value != "" {
			sink.Options[name] = value
		}
	}
	switch spec.Type {
	case "file":
		if block.isString("path") {
			below(block, "path", spec.Path, wrong)
		}
	case "vault":
		sink.checkServer(block, spec, "secret", []string{"path", "mount", "namespace"}, wrong)
	case "transit":
		if block.isString("path") {
			below(block, "path", spec.Path, wrong)
		}
		if block.isString("key") && !apiName(spec.Key, false) {
			wrong.add(block.attribute("key"), "letters, digits, dots, dashes and underscores", "key %q is not a name", spec.Key)
		}
		sink.checkServer(block, spec, "transit", []string{"mount", "namespace"}, wrong)
	default:
		// They become parts of a URL. Key Vault takes letters, digits and dashes only, Google also underscores, AWS paths.
		for _, name := range []string{"name", "region", "project", "vault_name"} {
			text := sink.Options[name]
			plain := spec.Type == "azure_key_vault" || name != "name"
			if block.isString(name) && (!apiName(text, spec.Type == "aws_secrets_manager" && name == "name") || plain && strings.ContainsAny(text, "._")) {
				wrong.add(block.attribute(name), "letters, digits and dashes", "%s %q is not a name", name, text)
			}
		}
	}
	return sink
}

// checkServer judges what leads to an engine of another Vault or OpenBao.
func (s *BootstrapSink) checkServer(block locator, spec bootstrapSinkSpec, mount string, paths []string, wrong *Mistakes) {
	if s.Options["mount"] == "" {
		s.Options["mount"] = mount
	}
	if block.isString("address") {
		if err := CheckURL(spec.Address); err != nil {
			wrong.add(block.attribute("address"), "for example \"https://vault.example.net:8200\"", "address: %v", err)
		}
	}
	for _, name := range paths {
		if block.isString(name) && !apiName(s.Options[name], true) {
			wrong.add(block.attribute(name), "letters, digits, dots, dashes, underscores, and slashes between them", "%s is not a path", name)
		}
	}
	checkServerName(block, spec.ServerName, wrong)
	s.Token = bootstrapReference(block, "token", spec.Token, "; a secret has no place in node.hcl, so change it if it stood there", wrong)
	s.CA = reference(block, "ca", spec.CA, "", wrong)
}

// bootstrapReference also knows the credentials that hostcheck bootstrap alone is given.
func bootstrapReference(at locator, name, text, more string, wrong *Mistakes) Reference {
	if !at.isString(name) {
		return ""
	}
	if kind, rest, _ := strings.Cut(text, ":"); kind == "credential" {
		if !slices.Contains(BootstrapCredentialNames, rest) {
			wrong.add(at.attribute(name), "one of "+strings.Join(BootstrapCredentialNames, ", ")+more, "%s is a credential that hostcheck bootstrap does not load", name)
		}
		return Reference(text)
	}
	r, problem, hint := ParseReference(text)
	if problem != "" {
		wrong.add(at.attribute(name), hint+more, "%s %s", name, problem)
	}
	return r
}

// place is what no two sinks have in common.
func (s BootstrapSink) place() string {
	if s.Type == "transit" {
		return "file:" + s.Options["path"]
	}
	return s.Name()
}

// Name tells sinks apart, in the report and in messages.
func (s BootstrapSink) Name() string {
	switch s.Type {
	case "file":
		return "file:" + s.Options["path"]
	case "vault":
		return "vault:" + s.Options["address"] + "/" + path.Join(s.Options["namespace"], s.Options["mount"], s.Options["path"])
	case "transit":
		return "transit:" + s.Options["address"] + "/" + path.Join(s.Options["namespace"], s.Options["mount"], s.Options["key"]) + ":" + s.Options["path"]
	case "aws_secrets_manager":
		return s.Type + ":" + s.Options["region"] + "/" + s.Options["name"]
	case "gcp_secret_manager":
		return s.Type + ":" + s.Options["project"] + "/" + s.Options["name"]
	case "azure_key_vault":
		return s.Type + ":" + s.Options["vault_name"] + "/" + s.Options["name"]
	}
	return ""
}

func checkLogins(top, block locator, specs []loginSpec, wrong *Mistakes) []BootstrapLogin {
	var out []BootstrapLogin
	blocks := block.blocks("login")
	for i, spec := range specs {
		at := blocks.at(i)
		login := BootstrapLogin{Name: spec.Name, Policy: spec.Policy, Names: spec.Names, CA: reference(at, "ca", spec.CA, "", wrong)}
		if !apiName(spec.Name, false) {
			wrong.add(at.body.SrcRange, "letters, digits, dots, dashes and underscores", "login %q is not a name", spec.Name)
		}
		if at.isString("policy") && !slices.Contains(BootstrapPolicies, spec.Policy) {
			wrong.add(at.attribute("policy"), "one of "+strings.Join(BootstrapPolicies, ", "), "policy %q is not known", spec.Policy)
		}
		checkNames(at, "names", spec.Names, wrong)
		if slices.ContainsFunc(out, func(o BootstrapLogin) bool { return o.Name == login.Name }) {
			wrong.add(at.body.SrcRange, "one name for each", "a second login %q", login.Name)
		}
		out = append(out, login)
	}
	for _, policy := range []string{"admin", "break-glass"} {
		if !slices.ContainsFunc(out, func(o BootstrapLogin) bool { return o.Policy == policy }) {
			wrong.add(top.start("bootstrap"), "login \"NAME\" { policy = \""+policy+"\", names = [\"NAME.people.example.net\"] }",
				"no login has policy %s: once the root token is revoked nobody could do what it allows", policy)
		}
	}
	return out
}

// checkNames judges names that a certificate may have. One that admits every certificate is none.
func checkNames(at locator, name string, names []string, wrong *Mistakes) {
	if at.has(name) && len(names) == 0 {
		wrong.add(at.attribute(name), "for example [\"*.nodes.example.net\"]", "%s admits nobody", name)
	}
	for i, n := range names {
		if !apiName(strings.ReplaceAll(n, "*", "x"), false) || !strings.Contains(strings.TrimLeft(n, "*."), ".") || strings.Count(n, "*") > 1 {
			wrong.add(at.element(name, i), "for example \"*.nodes.example.net\": one * at most, and a domain", "%q is no DNS name of a certificate", n)
		}
	}
}

func (s *provisionerSpec) check(top, block locator, place func(BootstrapSink, locator), wrong *Mistakes) Provisioner {
	p := Provisioner{TTL: 24 * time.Hour, Wrap: 24 * time.Hour}
	if s == nil {
		wrong.add(top.start("bootstrap"), "provisioner { age = \"age1…\", sink \"file\" { … } }", "bootstrap has no provisioner, so that nobody could set up the rest")
		return p
	}
	at := block.block("provisioner")
	p.Age = s.Age
	if at.isString("age") {
		checkRecipient(at, s.Age, wrong)
	}
	p.Sink = checkSink(at, s.Sinks, wrong)
	place(p.Sink, at)
	checkTime(at, "ttl", s.TTL, 5*time.Minute, 32*24*time.Hour, &p.TTL, wrong)
	checkTime(at, "wrap", s.Wrap, 5*time.Minute, 32*24*time.Hour, &p.Wrap, wrong)
	return p
}

func (s *autopilotSpec) check(block locator, wrong *Mistakes) Autopilot {
	a := Autopilot{MinQuorum: 3, DeadAfter: 24 * time.Hour}
	if s == nil {
		return a
	}
	at := block.block("autopilot")
	a.CleanupDeadServers = s.Cleanup != nil && *s.Cleanup
	if at.isString("min_quorum") {
		a.MinQuorum = checkCount(at, "min_quorum", s.MinQuorum, 3, 9, wrong)
	}
	checkTime(at, "dead_server_last_contact_threshold", s.DeadAfter, time.Minute, 365*24*time.Hour, &a.DeadAfter, wrong)
	return a
}

func checkTime(at locator, name, text string, least, most time.Duration, to *time.Duration, wrong *Mistakes) {
	if !at.isString(name) {
		return
	}
	value, err := time.ParseDuration(text)
	if err != nil || value < least || value > most {
		wrong.add(at.attribute(name), "for example \"24h\"", "%s %q is no time of %s to %s", name, text, least, most)
		return
	}
	*to = value
}

func checkCount(at locator, name, text string, least, most int, wrong *Mistakes) int {
	if !at.isString(name) {
		return least
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most || strconv.Itoa(n) != text {
		wrong.add(at.attribute(name), "for example \""+strconv.Itoa(least)+"\"", "%s %q is not a number from %d to %d", name, text, least, most)
		return least
	}
	return n
}

// below judges a path: hostcheck may write nowhere else, and a volume can be mounted there.
func below(at locator, name, text string, wrong *Mistakes) {
	if path.Clean(text) != text || !strings.HasPrefix(text, BootstrapDirectory+"/") || strings.ContainsFunc(text, unprintable) {
		wrong.add(at.attribute(name), "for example \""+BootstrapDirectory+"/alice/share.json\"; mount the volume there", "%s is not below %s", name, BootstrapDirectory)
	}
}

// reachable finds sinks that the node's own firewall keeps away.
func (b *Bootstrap) reachable(firewall Firewall, at locator, wrong *Mistakes) {
	if b == nil {
		return
	}
	block := at.block("bootstrap")
	if b.LockStore != nil {
		b.LockStore.reachable(firewall, at.start("bootstrap"), block.block("lock_store"), wrong)
	}
	check := func(sink BootstrapSink, at locator) {
		if address := sink.Options["address"]; address != "" {
			reach(Host(address), "egress", firewall.Egress, at.block("sink").attribute("address"), wrong)
		} else if sink.Type != "file" && len(firewall.Egress) == 0 {
			wrong.add(at.start("sink"), "put its networks into firewall.egress (docs/bootstrap.md)", "firewall.egress is empty, so %s cannot be reached", sink.Name())
		}
	}
	for i, share := range b.Shares {
		check(share.Sink, block.blocks("share").at(i))
	}
	check(b.Provisioner.Sink, block.block("provisioner"))
}
