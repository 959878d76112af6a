package node

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
)

// recognise says clearly what it is that stands in node.hcl's place: a thing of another tool is a likely mistake where
// clouds have one field for everything, and an HCL parser's complaints about it help nobody.
func recognise(d Document) error {
	content := bytes.TrimPrefix(d.Content, []byte("\xef\xbb\xbf"))
	first, _, _ := bytes.Cut(content, []byte("\n"))
	begins := func(s string) bool {
		return len(content) >= len(s) && strings.EqualFold(string(content[:len(s)]), s)
	}
	var what, hint string
	switch {
	case begins("#cloud-config"), begins("#cloud-boothook"), begins("#include"), begins("#part-handler"), begins("## template:"):
		what, hint = fmt.Sprintf("it begins with %q, which is for cloud-init", trimmed(first)), "nothing in the image reads that; node.hcl stands there alone and as it is"
	case begins("#!"):
		what, hint = fmt.Sprintf("it is a script (%q)", trimmed(first)), "nothing in the image would run it; node.hcl stands there alone and as it is"
	case begins("content-type:"), begins("mime-version:"):
		what, hint = "it is a MIME message, as cloud-init takes it", "node.hcl stands there alone and as it is"
	case bytes.HasPrefix(content, []byte("\x1f\x8b")):
		what, hint = "it is compressed with gzip", "hand it over uncompressed; node.hcl is small"
	case begins("{"):
		what, hint = "it is JSON", "node.hcl is HCL; a configuration for Ignition does not belong here"
	case begins("<!doctype"), begins("<html"), begins("<?xml"):
		what, hint = "it is a page for a browser", "give the URL at which the document itself lies"
	case begins("-----begin"):
		what, hint = "it is PEM", "certificates and keys have credentials of their own: "+CredentialCert+", "+CredentialKey+", "+CredentialCA
	case isBase64(content):
		what, hint = "it is base64", "it was encoded once too often"
	default:
		return nil
	}
	return Hinted(fmt.Errorf("%s is not a node.hcl: %s", d.Source, what), hint)
}

// isBase64 asks for a brace's absence, since a node.hcl has blocks.
func isBase64(content []byte) bool {
	if bytes.ContainsAny(content, "{}") || len(content) < 32 {
		return false
	}
	_, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(content)))
	return err == nil
}

func trimmed(line []byte) []byte {
	line = bytes.TrimSpace(line)
	return line[:min(len(line), 40)]
}
