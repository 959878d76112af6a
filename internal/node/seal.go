package node

import (
	"maps"
	"slices"
	"strings"
)

// Seal is what protects the server's root key.
type Seal struct {
	Type    string            // "shamir", "transit", "awskms", "gcpckms", "azurekeyvault", "ocikms", "static"
	Options map[string]string // of the server's seal stanza, as they stand
	Files   []SealFile        // options whose value is a file that configure writes, in the order of their names
}

// SealFile is an option of a seal that is kept in a file of its own: a secret, or certificates.
type SealFile struct {
	Option    string    // of the server's seal stanza
	Reference Reference // where it comes from
	Indirect  bool      // the server wants file:///PATH and reads the value; otherwise it wants the path
	Content   Content
}

// Content is what a file of a seal holds.
type Content int

const (
	ContentLine         Content = iota // a token, an identifier: one line
	ContentKey                         // 32 bytes of an AES key
	ContentJSON                        // a cloud's credentials file
	ContentCertificates                // PEM
	ContentPrivateKey                  // PEM
)

// file is what becomes of an option that is a reference.
type file struct {
	option   string // of the server's stanza; empty: the same name
	indirect bool
	content  Content
}

// sealType is a seal that a server can have.
type sealType struct {
	name    string
	servers []string // nil: all
	options []option
}

var secretLine = file{indirect: true, content: ContentLine}

// sealTypes are those of Vault's community edition and of OpenBao that need no module or driver in the image. An option
// of the server's that is not here is left out on purpose: what turns verification off (tls_skip_verify), what names
// files of an account (shared_creds_filename, auth_type_api_key), and what changes a seal under a running cluster
// (disabled, priority).
var sealTypes = []sealType{
	{name: "shamir"},
	{name: "transit", options: []option{
		{name: "address", kind: kindURL, required: true},
		{name: "key_name", required: true},
		{name: "mount_path", usual: "transit/"},
		{name: "namespace"},
		{name: "token", kind: kindSecret, required: true, file: secretLine},
		{name: "disable_renewal", kind: kindYesNo},
		{name: "key_id_prefix"},
		{name: "ca", kind: kindMaterial, file: file{option: "tls_ca_cert", content: ContentCertificates}},
		{name: "client_cert", kind: kindMaterial, file: file{option: "tls_client_cert", content: ContentCertificates}},
		{name: "client_key", kind: kindSecret, file: file{option: "tls_client_key", content: ContentPrivateKey}},
		{name: "server_name"},
	}},
	{name: "awskms", options: []option{
		{name: "kms_key_id", required: true},
		{name: "region", required: true},
		{name: "endpoint", kind: kindEndpoint},
		{name: "role_arn"},
		{name: "role_session_name"},
		{name: "access_key", kind: kindSecret, file: secretLine},
		{name: "secret_key", kind: kindSecret, file: secretLine},
		{name: "session_token", kind: kindSecret, file: secretLine},
	}},
	{name: "gcpckms", options: []option{
		{name: "project", required: true},
		{name: "region", required: true},
		{name: "key_ring", required: true},
		{name: "crypto_key", required: true},
		{name: "credentials", kind: kindSecret, file: file{content: ContentJSON}},
	}},
	{name: "azurekeyvault", options: []option{
		{name: "tenant_id", required: true},
		{name: "vault_name", required: true},
		{name: "key_name", required: true},
		{name: "environment", oneOf: []string{"AZUREPUBLICCLOUD", "AZURECHINACLOUD", "AZUREUSGOVERNMENTCLOUD", "AZUREGERMANCLOUD"}},
		{name: "resource"},
		{name: "client_id"},
		{name: "client_secret", kind: kindSecret, file: secretLine},
	}},
	{name: "ocikms", options: []option{
		{name: "key_id", required: true},
		{name: "crypto_endpoint", kind: kindEndpoint, required: true},
		{name: "management_endpoint", kind: kindEndpoint, required: true},
	}},
	{name: "static", servers: []string{"openbao"}, options: []option{
		{name: "current_key_id", required: true},
		{name: "current_key", kind: kindSecret, required: true, file: file{indirect: true, content: ContentKey}},
		{name: "previous_key_id"},
		{name: "previous_key", kind: kindSecret, file: file{indirect: true, content: ContentKey}},
	}},
}

// sealPairs are options that are worth nothing alone.
var sealPairs = [][2]string{
	{"client_cert", "client_key"}, {"access_key", "secret_key"}, {"previous_key_id", "previous_key"},
}

type sealSpec struct {
	Type string   `hcl:"type,label"`
	Rest struct{} `hcl:",remain"`
}

func (s *sealSpec) check(at locator, server string, wrong *Mistakes) Seal {
	if s == nil {
		return Seal{Type: "shamir"}
	}
	i := slices.IndexFunc(sealTypes, func(t sealType) bool { return t.name == s.Type && t.on(server) })
	if i < 0 {
		var names []string
		for _, t := range sealTypes {
			if t.on(server) {
				names = append(names, t.name)
			}
		}
		wrong.add(at.label("seal"), "one of "+strings.Join(names, ", "), "seal %q is not one that %s has here", s.Type, server)
		return Seal{Type: s.Type}
	}
	block := at.block("seal")
	if at.count("seal") != 1 {
		return Seal{Type: s.Type} // a second one has been reported
	}
	given := options("seal "+s.Type, block, sealTypes[i].options, wrong)
	for _, pair := range sealPairs {
		for _, p := range [][2]string{pair, {pair[1], pair[0]}} {
			if block.has(p[0]) && !block.has(p[1]) {
				wrong.add(block.attribute(p[0]), "give both, or neither", "%s without %s", p[0], p[1])
			}
		}
	}
	seal := Seal{Type: s.Type, Options: given.text}
	for _, name := range slices.Sorted(maps.Keys(given.references)) {
		f := sealTypes[i].option(name).file
		if f.option == "" {
			f.option = name
		}
		seal.Files = append(seal.Files, SealFile{Option: f.option, Reference: given.references[name], Indirect: f.indirect, Content: f.content})
	}
	if name, ok := seal.Options["server_name"]; ok { // the one plain option that a server calls otherwise
		delete(seal.Options, "server_name")
		seal.Options["tls_server_name"] = name
	}
	return seal
}

func (t sealType) on(server string) bool {
	return t.servers == nil || slices.Contains(t.servers, server)
}

func (t sealType) option(name string) option {
	return t.options[slices.IndexFunc(t.options, func(o option) bool { return o.name == name })]
}
