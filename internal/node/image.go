package node

// Image is what the image has decided, so that node.hcl is judged for the image that it meets.
type Image struct {
	Server      string // "vault", "openbao"
	ClusterPort int    // that Raft listens on
	MemoryLock  bool   // the server locks its memory
}
