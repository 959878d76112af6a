// Package lab boots images in QEMU and proves what they do: a [Machine] is one virtual
// machine with UEFI firmware on a throw-away disk, an [Authority] issues what a node is given
// at boot, [Prove] boots an image, waits for the node's own verdict and switches it off, and a [Cluster]
// is several nodes of one image that join and can be broken.
//
// The lab sits outside the guest. It believes what the network, the QEMU monitor and the
// node's report say, never a line on the console, which is for people to read.
package lab
