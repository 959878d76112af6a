package plugin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"strings"

	"github.com/strongroom/strongroom/internal/digest"
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

// Parameters of the catalogue by which a node knows its programs.
const (
	serverDigestParameter = "server_sha256"
	agentDigestParameter  = "hostcheck_sha256"
)

// withDigests adds the digests of the programs to the parameters that the template gives. One that is not known yet, or
// is no digest, which is reported elsewhere, is left out.
func (c *HardeningConfig) withDigests(server string, wrong *mistakes) map[string]string {
	parameters := maps.Clone(c.Parameters)
	if parameters == nil {
		parameters = map[string]string{}
	}
	for _, program := range []struct{ parameter, sum string }{{serverDigestParameter, server}, {agentDigestParameter, c.agentDigest}} {
		if len(program.sum) != sha256.Size*2 {
			continue
		}
		if given := c.Parameters[program.parameter]; given != "" && given != program.sum {
			wrong.add("parameters", "%s: %s is not the digest of the program that goes into the image, %s: leave it out, the builder sets it",
				program.parameter, given, program.sum)
			continue
		}
		parameters[program.parameter] = program.sum
	}
	return parameters
}

// measurePrograms finds hostcheck and learns the digests of the programs, that of the server only where the configuration does not
// name it. The files must be read for that, which Prepare does not do: what was planned before has to be planned again.
func (c *HardeningConfig) measurePrograms(ctx context.Context) (err error) {
	if c.Hostcheck, err = findHostcheck(c.Hostcheck); err != nil {
		return err
	}
	if c.agentDigest, err = programDigest(ctx, c.Hostcheck); err != nil {
		return fmt.Errorf("cannot read hostcheck: %w", err)
	}
	if block := c.serverBlock(); block != nil && block.SHA256 == "" {
		if block.SHA256, err = programDigest(ctx, block.Binary); err != nil {
			return fmt.Errorf("cannot read the server's program: %w", err)
		}
	}
	return nil
}

func programDigest(ctx context.Context, name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum, _, err := digest.Of(ctx, f)
	return sum, err
}
