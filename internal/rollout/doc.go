// Package rollout moves a cluster from one image to another, node by node: standbys before the active node, the oldest image first, and no
// further than the first node that does not pass. What destroys and starts machines is the caller's; this package says which and when, and
// judges what came.
package rollout
