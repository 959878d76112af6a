// Package server holds the names by which a node calls the things of its server, HashiCorp Vault or
// OpenBao. Both are the same to the catalogue but for these names; they follow each product's own packages, so
// that an operator finds things where its documentation says.
package server

import (
	"fmt"
	"slices"
	"strings"
)

// Product is one server.
type Product struct {
	ID        string // "vault", as in a profile and in strongroom's own files
	Name      string // "Vault", as people write it
	Long      string // "HashiCorp Vault", as the account and the unit are described
	Unit      string // "vault.service"
	Account   string // user and group that it runs as
	Binary    string
	Config    string // the one file that it is started with, written below /run at each boot
	Run       string // directory of Config and of the TLS material
	Data      string // of the integrated storage, a partition of its own
	Audit     string // of the file audit device, a partition of its own
	EnvPrefix string // "VAULT_", which its environment variables begin with
}

// Products are the servers that an image can hold.
var Products = []Product{
	{
		ID: "vault", Name: "Vault", Long: "HashiCorp Vault", Unit: "vault.service", Account: "vault", Binary: "/usr/bin/vault",
		Config: "/run/vault/vault.hcl", Run: "/run/vault", Data: "/var/lib/vault", Audit: "/var/log/vault", EnvPrefix: "VAULT_",
	},
	{
		ID: "openbao", Name: "OpenBao", Long: "OpenBao", Unit: "openbao.service", Account: "openbao", Binary: "/usr/bin/bao",
		Config: "/run/openbao/openbao.hcl", Run: "/run/openbao", Data: "/var/lib/openbao", Audit: "/var/log/openbao", EnvPrefix: "BAO_",
	},
}

// Find gives a product by its id.
func Find(id string) (Product, error) {
	i := slices.IndexFunc(Products, func(p Product) bool { return p.ID == id })
	if i < 0 {
		return Product{}, fmt.Errorf("server %q is not one of %s", id, strings.Join(IDs(), ", "))
	}
	return Products[i], nil
}

// IDs lists the products.
func IDs() []string {
	var ids []string
	for _, p := range Products {
		ids = append(ids, p.ID)
	}
	return ids
}

// Words are what a catalogue may write as ${server.unit} in place of a product's own name.
func (p Product) Words() map[string]string {
	return map[string]string{
		"server.name": p.Name, "server.long": p.Long, "server.unit": p.Unit, "server.account": p.Account, "server.binary": p.Binary,
		"server.config": p.Config, "server.run": p.Run, "server.data": p.Data, "server.audit": p.Audit, "server.env": p.EnvPrefix,
	}
}
