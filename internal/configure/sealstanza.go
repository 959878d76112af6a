package configure

import (
	"maps"
	"slices"

	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/server"
)

// sealDirectory is where the files of a seal lie. Secrets are there and not in the server's configuration, which people copy into
// bug reports, nor in its environment, which every process of the account can read.
func sealDirectory(p server.Product) string { return p.Run + "/seal" }

// sealStanza renders the seal. Vault and OpenBao read the value of a secret option from a file when it begins with
// file://, and take what is a file anyway, such as a CA, by its path. Shamir is what a server does without a stanza.
func sealStanza(p server.Product, w *hclWriter, seal node.Seal) {
	if seal.Type == "" || seal.Type == "shamir" {
		return
	}
	options := maps.Clone(seal.Options)
	for _, f := range seal.Files {
		path := sealDirectory(p) + "/" + f.Option
		if f.Indirect {
			path = "file://" + path
		}
		options[f.Option] = path
	}
	w.newline()
	w.block("seal", []string{seal.Type}, func() {
		for _, name := range slices.Sorted(maps.Keys(options)) {
			w.set(name, options[name])
		}
	})
}
