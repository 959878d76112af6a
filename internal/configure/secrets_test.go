package configure_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/configure"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/node/nodetest"
	"github.com/strongroom/strongroom/internal/server"
)

// planted is what is looked for: a secret by its own text, and what it becomes in other forms.
type planted map[string]string // form → whose

func (p planted) add(name string, secret []byte) {
	p[string(secret)] = name
	p[hex.EncodeToString(secret)] = name + " in hexadecimal"
	p[base64.StdEncoding.EncodeToString(secret)] = name + " in base64"
	p[strings.Trim(fmt.Sprint(secret), "[]")] = name + " as numbers"
}

func (p planted) in(text []byte) []string {
	var found []string
	for form, name := range p {
		if bytes.Contains(text, []byte(form)) {
			found = append(found, name)
		}
	}
	return found
}

// keptSecrets are the places where secrets may lie, and for whom.
func keptSecrets(p server.Product) map[string]fs.FileMode {
	return map[string]fs.FileMode{
		p.Run + "/tls/tls.key":     0o640,
		p.Run + "/seal/":           0o640,
		node.AgentTLS + "/tls.key": 0o600,
	}
}

// Whatever is asked for and whatever goes wrong, no secret gets to a log, an error, or a file that is not there for it.
func TestSecretsStayWhereTheyBelong(t *testing.T) {
	ca := nodetest.NewCA(t, nodetest.Today())
	type kase struct {
		product server.Product
		block   string
		edit    func(creds string, secrets planted)
	}
	cases := map[string]kase{
		"no seal": {product: vault},
		"in node.hcl itself": {product: vault, block: `
seal "transit" {
  address  = "https://hvs.PLANTEDinnodehcl:1"
  key_name = "hvs.PLANTEDinnodehcl"
  token    = "hvs.PLANTEDinnodehcl"
  nonsense = "hvs.PLANTEDinnodehcl"
  more { a = "hvs.PLANTEDinnodehcl" }
}
join { auto_join = "provider=aws secret_access_key=hvs.PLANTEDinnodehcl" }
tls { key = "https://a:hvs.PLANTEDinnodehcl@b/c" }
telemetry { basic_auth = { a = "hvs.PLANTEDinnodehcl" } }
audit "socket" { address = "hvs.PLANTEDinnodehcl" }
`},
		"in a URL": {product: vault, block: `
tls {
  cert = "https://127.0.0.1:1/cert?token=hvs.PLANTEDinnodehcl"
  key  = "https://localhost:1/key?token=hvs.PLANTEDinnodehcl"
}`},
		"a secret that is no certificate": {product: vault, edit: func(creds string, secrets planted) {
			os.Remove(filepath.Join(creds, node.CredentialCert))
			put(t, creds, node.CredentialCert, "hvs.PLANTEDinnodehcl")
		}},
		"a key that is none": {product: vault, edit: func(creds string, secrets planted) {
			os.Remove(filepath.Join(creds, node.CredentialKey))
			put(t, creds, node.CredentialKey, "hvs.PLANTEDinnodehcl")
		}},
		"a password in place of its hash": {product: vault, block: `
telemetry { basic_auth = { a = "credential:strongroom.metrics.bcrypt" } }`, edit: func(creds string, secrets planted) {
			put(t, creds, "strongroom.metrics.bcrypt", "hvs.PLANTEDinnodehcl")
		}},
	}
	for name, seal := range seals {
		cases["seal "+name] = kase{product: seal.product, block: "\n" + seal.block}
		if !strings.Contains(seal.block, "credential:") {
			continue
		}
		cases["seal "+name+", all damaged"] = kase{product: seal.product, block: "\n" + seal.block, edit: func(creds string, secrets planted) {
			for _, name := range node.CredentialNames {
				if strings.HasPrefix(name, "strongroom.seal.") {
					os.Remove(filepath.Join(creds, name))
					put(t, creds, name, "hvs.PLANTEDinnodehcl\nhvs.PLANTEDinnodehcl")
				}
			}
		}}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			creds := ca.Credentials(config+c.block, "node.example")
			o, _, log := machine(t, creds)
			o.Server = c.product
			secrets := planted{}
			plant(t, ca, o.Credentials, secrets)
			secrets.add("the key", creds.Key.Reveal()[40:100])
			secrets.add("the text", []byte("hvs.PLANTEDinnodehcl"))
			if c.edit != nil {
				c.edit(o.Credentials, secrets)
			}
			ctx, cancel := context.WithCancel(t.Context())
			if name == "in a URL" {
				cancel() // nobody answers, and nobody waits
			}
			defer cancel()
			id, err := configure.Run(ctx, o)
			if good := c.edit == nil && !strings.HasPrefix(name, "in "); good != (err == nil) {
				t.Errorf("configure: %v", err)
			}
			said := fmt.Sprintf("%v %+v %v", err, id, log)
			// What is renewed is read again, as far as the node got.
			done, err := configure.Renew(ctx, o, func(context.Context) error { return nil })
			said += fmt.Sprintf("%v %+v %v", err, done, log)
			if found := secrets.in([]byte(said)); len(found) > 0 {
				t.Errorf("%v in what was said:\n%s", found, said)
			}
			lookThrough(t, o, secrets)
		})
	}
}

// plant gives a recognisable value to everything that node.hcl may refer to.
func plant(t *testing.T, ca *nodetest.CA, dir string, secrets planted) {
	t.Helper()
	_, key := ca.Issue(nodetest.Today(), "client")
	for _, name := range node.CredentialNames {
		value := []byte("PLANTED-" + name + "-0123456789abcdef")
		switch name {
		case node.CredentialCert, node.CredentialKey, node.CredentialCA:
			continue
		case "strongroom.seal.key", "strongroom.seal.previous":
			value = []byte((name + "-PLANTED-0123456789abcdef")[11:43])
		case "strongroom.seal.credentials":
			value = []byte(`{"private_key": "` + string(value) + `"}`)
		case "strongroom.seal.client.key":
			value = key
		case "strongroom.seal.ca", "strongroom.seal.client.crt", "strongroom.leader.ca", "strongroom.metrics.ca":
			put(t, dir, name, string(ca.PEM))
			continue
		}
		put(t, dir, name, string(value))
		secrets.add(name, value[min(len(value)/2, 40):])
	}
}

// lookThrough reads every file below the root, where the credentials are not.
func lookThrough(t *testing.T, o configure.Options, secrets planted) {
	t.Helper()
	kept := keptSecrets(o.Server)
	err := filepath.WalkDir(o.Root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		found := secrets.in(content)
		if len(found) == 0 {
			return nil
		}
		name := strings.TrimPrefix(path, o.Root)
		mode, allowed := kept[name]
		if !allowed {
			mode, allowed = kept[filepath.Dir(name)+"/"]
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if !allowed || info.Mode().Perm()&^mode != 0 {
			t.Errorf("%v in %s (%v)", found, name, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
