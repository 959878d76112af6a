package node

import (
	"slices"
	"strings"

	"filippo.io/age"
)

// Recovery says who can open the encrypted data partitions when the TPM does not, and where the key for that goes. Its zero
// value names nobody.
type Recovery struct {
	Recipients []string // of age, in its text form: "age1…"; public
	DeliverTo  []string // OnNode, or the https URL of a directory, with a slash at the end
}

// OnNode is the place beside the data: the partition of other state, which is not encrypted.
const OnNode = "node"

// Some reports whether node.hcl has a recovery block.
func (r Recovery) Some() bool { return len(r.Recipients) > 0 }

type recoverySpec struct {
	Recipients []string `hcl:"recipients"`
	DeliverTo  []string `hcl:"deliver_to"`
}

func (s *recoverySpec) check(at locator, wrong *Mistakes) Recovery {
	if s == nil {
		return Recovery{}
	}
	block := at.block("recovery")
	checkRecipients(block, s.Recipients, "could use the recovery key", wrong)
	if len(s.DeliverTo) == 0 && block.has("deliver_to") {
		wrong.add(block.attribute("deliver_to"), "\"node\", or the https URL of a directory", "deliver_to names no place")
	}
	for i, place := range s.DeliverTo {
		if slices.Contains(s.DeliverTo[:i], place) {
			wrong.add(block.element("deliver_to", i), "write it once", "place %d is there twice", i+1)
		}
		if place == OnNode {
			continue
		}
		if u, err := ParseHTTPS(place); err != nil || u.RawQuery != "" || !strings.HasSuffix(u.Path, "/") {
			wrong.add(block.element("deliver_to", i), "write \"node\", or https://HOST/PATH/ with a slash at the end and neither user name nor query: the name of the file is added",
				"place %d is neither \"node\" nor the https URL of a directory", i+1)
		}
	}
	return Recovery{Recipients: s.Recipients, DeliverTo: s.DeliverTo}
}

// checkRecipients judges the attribute recipients of a block. what says what they are there for.
func checkRecipients(block locator, recipients []string, what string, wrong *Mistakes) {
	if len(recipients) == 0 && block.has("recipients") {
		wrong.add(block.attribute("recipients"), "the public key that age-keygen prints", "recipients names nobody who %s", what)
	}
	for i, r := range recipients {
		if _, err := ParseRecipient(r); err != nil {
			hint := "the public key that age-keygen prints: \"age1…\""
			if strings.HasPrefix(strings.ToUpper(r), "AGE-SECRET-KEY-") {
				hint = "this is the private key, which nobody but its owner may have: make a new one, and write down its public key"
			}
			// The text is not repeated: it may be the private key.
			wrong.add(block.element("recipients", i), hint, "recipient %d is no public key of age", i+1)
		}
		if slices.Contains(recipients[:i], r) {
			wrong.add(block.element("recipients", i), "write it once", "recipient %d is there twice", i+1)
		}
	}
}

// ParseRecipient reads a recipient of age: an X25519 key, or one that a quantum computer does not break either.
func ParseRecipient(text string) (age.Recipient, error) {
	if strings.HasPrefix(text, "age1pq1") {
		return age.ParseHybridRecipient(text)
	}
	return age.ParseX25519Recipient(text)
}
