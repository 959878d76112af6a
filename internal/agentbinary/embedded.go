//go:build embed_hostcheck

package agentbinary

import _ "embed" // for the directive

// The release configuration builds cmd/hostcheck into this directory first. Without it this does not compile, so that no
// release can lack it.
//
//go:embed hostcheck
var program []byte
