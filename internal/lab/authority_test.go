package lab

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/lab/network"
	"github.com/strongroom/strongroom/internal/node"
)

// What the lab gives a node is judged as the node will judge it.
func TestCredentials(t *testing.T) {
	authority := newAuthority(t)
	given := credentials(t, authority)
	if _, err := node.Parse(node.CredentialConfig, given[node.CredentialConfig].Reveal(), node.Image{Server: "vault", ClusterPort: PortRaft}); err != nil {
		t.Errorf("node.hcl: %v", err)
	}
	warnings, err := node.CheckTLS(node.Material{
		Cert: given[node.CredentialCert].Reveal(), Key: given[node.CredentialKey], CA: given[node.CredentialCA].Reveal(),
	}, []string{"127.0.0.1", "10.0.2.65", "node-1.lab", "localhost"}, time.Now())
	if err != nil || len(warnings) > 0 {
		t.Errorf("TLS material: %v %v", warnings, err)
	}
}

// A node of a cluster is told where the others are, how to log in, and what seals it.
func TestClusterConfig(t *testing.T) {
	c := &Cluster{services: Services{}.orUsual(), transit: &transit{}, options: ClusterOptions{Blocks: []string{"telemetry {\n  statsd_address = \"10.0.2.3:8125\"\n}\n"}}}
	for i := range 3 {
		c.members = append(c.members, &member{lease: &network.Lease{Name: fmt.Sprintf("node-%d", i+1), Address: network.Machines.Addr().Next()}})
	}
	text := identityOf(c.members[0].lease, c.services, c.blocks()...).config()
	config, err := node.Parse(node.CredentialConfig, []byte(text), node.Image{Server: "vault", ClusterPort: PortRaft})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if len(config.Join.Leaders) != 3 || config.Join.Leaders[2].Address != "https://node-3.lab:8200" || config.Seal.Type != SealTransit ||
		config.Auth == nil || config.Auth.Role != agentRole {
		t.Errorf("%+v", config)
	}
}

func TestTrust(t *testing.T) {
	authority := newAuthority(t)
	given := credentials(t, authority)
	pair, err := tls.X509KeyPair(given[node.CredentialCert].Reveal(), given[node.CredentialKey].Reveal())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	defer server.Close()
	get := func(trust *tls.Config) error {
		client := http.Client{Transport: &http.Transport{TLSClientConfig: trust, DisableKeepAlives: true}}
		response, err := client.Get(server.URL)
		if err == nil {
			response.Body.Close()
		}
		return err
	}
	if err := get(authority.ClientTLS()); err != nil {
		t.Errorf("own authority: %v", err)
	}
	if err := get(newAuthority(t).ClientTLS()); err == nil {
		t.Error("a node of another authority is believed")
	}
}

func newAuthority(t testing.TB) *Authority {
	t.Helper()
	authority, err := NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

func credentials(t *testing.T, authority *Authority) map[string]node.Secret {
	t.Helper()
	list, err := authority.Credentials(Identity{Host: "node-1.lab", Address: netip.MustParseAddr("10.0.2.65"), Services: Services{}.orUsual()})
	if err != nil {
		t.Fatal(err)
	}
	given := map[string]node.Secret{}
	for _, c := range list {
		given[c.Name] = c.Value
	}
	return given
}

func TestServicesOf(t *testing.T) {
	got, err := ServicesOf(map[string]string{"api_port": "18200", "agent_port": "19810", "memory_lock": "off"})
	if want := (Services{18200, PortRaft, 19810}); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if _, err := ServicesOf(map[string]string{"api_port": "many"}); err == nil {
		t.Error("a port that is none is accepted")
	}
}
