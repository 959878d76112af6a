//go:build !embed_hostcheck

package agentbinary

// A development build finds hostcheck beside itself, where `make plugin-install` puts it.
var program []byte
