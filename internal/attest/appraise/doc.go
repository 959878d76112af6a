// Package appraise judges what a node's TPM has vouched for, against what the asker knows from elsewhere: the nonce that was
// sent, the key that was pinned when the node was enrolled, and what the image measures.
package appraise
