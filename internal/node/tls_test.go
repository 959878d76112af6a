package node_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/node/nodetest"
)

func TestCheckTLS(t *testing.T) {
	const host = "vault-1.example.net"
	today := nodetest.Today()
	ca := nodetest.NewCA(t, today)
	good := ca.Credentials("", host, "10.0.0.1")

	year := 365 * 24 * time.Hour
	old := nodetest.NewCA(t, nodetest.Validity{From: time.Now().Add(-2 * year), Until: time.Now().Add(year)})
	expired := good
	cert, key := old.Issue(nodetest.Validity{From: time.Now().Add(-year), Until: time.Now().Add(-time.Hour)}, host)
	expired.Cert, expired.Key, expired.CA = cert, node.NewSecret(key), old.PEM

	intermediate := ca.Intermediate(today)
	below := intermediate.Credentials("", host)
	below.CA = ca.PEM
	complete := below
	complete.Cert = append(slices.Clone(below.Cert), intermediate.PEM...)

	future := nodetest.NewCA(t, nodetest.Validity{From: time.Now().Add(year), Until: time.Now().Add(2 * year)})
	twoRoots := good
	twoRoots.CA = append(slices.Clone(ca.PEM), future.PEM...)

	with := func(edit func(*node.Credentials)) node.Credentials {
		c := good
		edit(&c)
		return c
	}
	other := ca.Credentials("", host)

	cases := map[string]struct {
		creds   node.Credentials
		hosts   []string
		now     time.Time
		warning string
		fails   []string
	}{
		"good":                       {creds: good, hosts: []string{host, "10.0.0.1"}},
		"intermediate in the chain":  {creds: complete, hosts: []string{host}},
		"a root of later days":       {creds: twoRoots, hosts: []string{host}},
		"clock behind":               {creds: good, hosts: []string{host}, now: time.Now().Add(-year), warning: "is the clock behind?"},
		"expired":                    {creds: expired, hosts: []string{host}, fails: []string{"expired at"}},
		"expired and another host":   {creds: expired, hosts: []string{"x.example"}, fails: []string{"expired at", "not good for x.example"}},
		"intermediate missing":       {creds: below, hosts: []string{host}, fails: []string{"does not lead to credential strongroom.tls.ca"}},
		"another authority":          {creds: with(func(c *node.Credentials) { c.CA = old.PEM }), fails: []string{"does not lead to"}},
		"another name and address":   {creds: good, hosts: []string{"vault-2.example.net", "10.0.0.2"}, fails: []string{"vault-2.example.net", "10.0.0.2"}},
		"key of another certificate": {creds: with(func(c *node.Credentials) { c.Key = other.Key }), fails: []string{"strongroom.tls.key", "does not match"}},
		"key with a passphrase": {creds: with(func(c *node.Credentials) {
			c.Key = node.NewSecret([]byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"))
		}), fails: []string{"passphrase"}},
		"key that is none":           {creds: with(func(c *node.Credentials) { c.Key = node.NewSecret([]byte("hunter2")) }), fails: []string{"no PEM block"}},
		"key beside the certificate": {creds: with(func(c *node.Credentials) { c.Cert = append(slices.Clone(c.Cert), c.Key.Reveal()...) }), fails: []string{"only certificates belong"}},
		"authority first":            {creds: with(func(c *node.Credentials) { c.Cert = ca.PEM }), fails: []string{"comes first"}},
		"no certificate":             {creds: with(func(c *node.Credentials) { c.Cert = []byte("x") }), fails: []string{"strongroom.tls.crt", "no certificate"}},
		"damaged certificate": {creds: with(func(c *node.Credentials) {
			c.CA = []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
		}), fails: []string{"certificate 1"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			now := c.now
			if now.IsZero() {
				now = time.Now()
			}
			warnings, err := node.CheckTLS(c.creds.Material, c.hosts, now)
			if (err == nil) != (len(c.fails) == 0) {
				t.Fatalf("got error %v, want one with %q", err, c.fails)
			}
			for _, want := range c.fails {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
			if got := strings.Join(warnings, "\n"); !strings.Contains(got, c.warning) || (got != "") != (c.warning != "") {
				t.Errorf("got warnings %q, want %q", got, c.warning)
			}
		})
	}
}
