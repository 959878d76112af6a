package plugin

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"

	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/server"
)

// serverBinary finds the one block that names the server of the image: the product, and its program. The product is
// there for a template with mistakes too, so that the rest of it can be judged.
func (c *HardeningConfig) serverBinary(wrong *mistakes) (server.Product, image.Binary) {
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
	if raw, err := hex.DecodeString(block.SHA256); block.SHA256 != "" && block.SHA256 != unknown && (err != nil || len(raw) != 32) {
		wrong.add(product.ID+".sha256", "%q is not a SHA-256 in hex: 64 digits, such as the data source strongroom-release gives", block.SHA256)
	}
	return product, image.Binary{Source: block.Binary, Path: product.Binary, SHA256: block.SHA256}
}

// serverBlock is the block of the server that goes into the image.
func (c *HardeningConfig) serverBlock() *ServerConfig {
	if c.OpenBao != nil {
		return c.OpenBao
	}
	return c.Vault
}

// digestParameter is the parameter of the catalogue by which a node knows its server's program.
const digestParameter = "server_sha256"

// withDigest adds the digest of the server's program to the parameters that the template gives.
func (c *HardeningConfig) withDigest(sum string, wrong *mistakes) map[string]string {
	if len(sum) != sha256.Size*2 {
		return c.Parameters // not known yet, or no digest, which is reported elsewhere
	}
	if given := c.Parameters[digestParameter]; given != "" && given != sum {
		wrong.add("parameters", "%s: %s is not the digest of the program that goes into the image, %s: leave it out, the builder sets it",
			digestParameter, given, sum)
		return c.Parameters
	}
	parameters := maps.Clone(c.Parameters)
	if parameters == nil {
		parameters = map[string]string{}
	}
	parameters[digestParameter] = sum
	return parameters
}

// measureServer learns the digest of the server's program where the configuration does not name it, and reports whether it
// did: the file must be read for that, which Prepare does not do. What was planned without it has to be planned again.
func (c *HardeningConfig) measureServer() (learnt bool, err error) {
	block := c.serverBlock()
	if block == nil || block.SHA256 != "" {
		return false, nil
	}
	f, err := os.Open(block.Binary)
	if err != nil {
		return false, fmt.Errorf("cannot read the server's program: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return false, fmt.Errorf("cannot read the server's program: %w", err)
	}
	block.SHA256 = hex.EncodeToString(h.Sum(nil))
	return true, nil
}
