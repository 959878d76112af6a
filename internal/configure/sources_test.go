package configure_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/configure"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/node/nodetest"
)

// A node becomes the same, whichever source has its node.hcl.
func TestRunFromEverySource(t *testing.T) {
	cases := map[string]struct {
		prepare  func(t *testing.T, o *configure.Options)
		from     string
		admitted bool // an address for the fetch
	}{
		"credential": {from: "strongroom.node.hcl", prepare: func(t *testing.T, o *configure.Options) {
			if err := os.WriteFile(filepath.Join(o.Credentials, node.CredentialConfig), []byte(config), 0o400); err != nil {
				t.Fatal(err)
			}
		}},
		"aws": {from: "aws-user-data", prepare: func(t *testing.T, o *configure.Options) {
			cloudOf(t, o, "sys_vendor", "Amazon EC2", map[string]string{
				"/latest/api/token": "token", "/latest/user-data": config, "/latest/meta-data/instance-id": "i-0123456789abcdef0",
			})
		}},
		"gcp": {from: "gcp-attribute-strongroom-node-hcl", prepare: func(t *testing.T, o *configure.Options) {
			cloudOf(t, o, "product_name", "Google Compute Engine", map[string]string{
				"/computeMetadata/v1/instance/attributes/strongroom-node-hcl": config, "/computeMetadata/v1/instance/id": "4520031799277581759",
			})
		}},
		"azure": {from: "azure-user-data", prepare: func(t *testing.T, o *configure.Options) {
			cloudOf(t, o, "chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77", map[string]string{
				"/metadata/instance/compute/userData": base64.StdEncoding.EncodeToString([]byte(config)),
				"/metadata/instance/compute/vmId":     "02aab8a4-74ef-476e-8182-f6d2ba4166a6",
			})
		}},
		"url": {from: "https://127.0.0.1:", admitted: true, prepare: func(t *testing.T, o *configure.Options) {
			put(t, o.Root, "run/systemd/netif/leases/2", "OPTION_224="+hex.EncodeToString([]byte(configServer(t, o)))+"\n")
		}},
		"file": {from: node.ConfigPath, prepare: func(t *testing.T, o *configure.Options) {
			put(t, o.Root, node.ConfigPath, config)
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			creds := nodetest.NewCA(t, nodetest.Today()).Credentials(config, "node.example")
			creds.Config = nil
			o, fw, log := machine(t, creds)
			for _, dir := range []string{"var/lib/hostcheck", "run/systemd/netif/leases", "sys/class/dmi/id", "usr/lib/strongroom"} {
				if err := os.MkdirAll(filepath.Join(o.Root, dir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			c.prepare(t, &o)
			id, err := configure.Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if id.ClusterName != "test" || read(t, o.Root, "run/vault/vault.hcl") == "" {
				t.Errorf("the node became %+v", id)
			}
			if fw.elements("monitoring4") != 1 || fw.open != 0 || len(fw.admitted) > 0 != c.admitted {
				t.Errorf("firewall: %+v", fw)
			}
			if !strings.Contains(log.String(), "node.hcl is found") || !strings.Contains(log.String(), c.from) {
				t.Errorf("the log does not say where node.hcl came from:\n%s", log)
			}
			if strings.Contains(log.String(), "token") {
				t.Errorf("a token in the log:\n%s", log)
			}
		})
	}
}

// cloudOf makes the root that of an instance, and the network its metadata service.
func cloudOf(t *testing.T, o *configure.Options, field, value string, documents map[string]string) {
	t.Helper()
	put(t, o.Root, "sys/class/dmi/id/"+field, value+"\n")
	o.Baked.MetadataEgress = []netip.Prefix{netip.MustParsePrefix("169.254.169.254/32")}
	o.Network = metadata(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		document, known := documents[r.URL.Path]
		if !known {
			w.WriteHeader(http.StatusNotFound)
		}
		fmt.Fprint(w, document)
	})
}

// configServer serves node.hcl over HTTPS, from an authority that the image knows, and gives the URL.
func configServer(t *testing.T, o *configure.Options) string {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, config) }))
	t.Cleanup(server.Close)
	put(t, o.Root, node.URLAuthorityPath, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	return server.URL + "/node.hcl?token=hush"
}

// The firewall is closed again when the document could not be had, and the node stays without one.
func TestRunClosesTheFirewallBehindAFailure(t *testing.T) {
	creds := nodetest.NewCA(t, nodetest.Today()).Credentials(config, "node.example")
	creds.Config = nil
	o, fw, _ := machine(t, creds)
	for _, dir := range []string{"run/systemd/netif/leases", "usr/lib/strongroom"} {
		if err := os.MkdirAll(filepath.Join(o.Root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	url := configServer(t, &o)
	put(t, o.Root, node.URLAuthorityPath, string(nodetest.NewCA(t, nodetest.Today()).PEM)) // another one
	put(t, o.Root, "run/systemd/netif/leases/2", "OPTION_224="+hex.EncodeToString([]byte(url))+"\n")
	_, err := configure.Run(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "the server cannot be trusted") || strings.Contains(err.Error(), "hush") {
		t.Errorf("got error %v", err)
	}
	if len(fw.admitted) != 1 || fw.open != 0 || len(fw.sets) != 0 {
		t.Errorf("firewall: %+v", fw)
	}
	if _, err := os.Stat(filepath.Join(o.Root, "run/vault/vault.hcl")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("Vault got a configuration")
	}
}
