// Package attest lets a node's TPM vouch for a report: it asks the TPM for a quote, a signature by a key that never leaves it
// over the platform configuration registers (PCRs) and over what the asker has sent, together with the report's digest.
//
// What such a document is worth is judged elsewhere, by package appraise: nothing that a node says about itself counts there.
package attest
