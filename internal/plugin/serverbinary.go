package plugin

import (
	"encoding/hex"
	"strings"

	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/server"
)

// serverBinary finds the one block that names the server of the image: the product, and its program. The product is
// there for a template with mistakes too, so that the rest of it can be judged.
func (c *Config) serverBinary(wrong *mistakes) (server.Product, image.Binary) {
	blocks := map[string]*ServerConfig{"vault": c.Vault, "openbao": c.OpenBao}
	product, block := server.Products[0], (*ServerConfig)(nil)
	for _, p := range server.Products {
		b := blocks[p.ID]
		switch {
		case b == nil:
		case block != nil:
			wrong.add(p.ID, "the image has one server, and the block %s names another one: leave out either", product.ID)
		default:
			product, block = p, b
		}
	}
	if block == nil {
		wrong.add("vault", "is required, or openbao in its place: the block with the program that goes into the image, such as vault { binary = \"/usr/local/bin/vault\" }")
		return product, image.Binary{}
	}
	if block.Binary == "" {
		wrong.add(product.ID+".binary", "is required: the path of the %s program that goes into the image", product.Name)
	}
	block.SHA256 = strings.ToLower(block.SHA256)
	if raw, err := hex.DecodeString(block.SHA256); block.SHA256 != "" && (err != nil || len(raw) != 32) {
		wrong.add(product.ID+".sha256", "%q is not a SHA-256 in hex: 64 digits, as in the release's SHA256SUMS", block.SHA256)
	}
	return product, image.Binary{Source: block.Binary, Path: product.Binary, SHA256: block.SHA256}
}
