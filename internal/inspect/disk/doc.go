// Package disk opens the files that a disk comes in (raw, qcow2, vmdk, vhd, a tar.gz as Google Cloud wants it) as the disk that a
// machine would see. It reads only, keeps little of it in memory, and never opens a second file that an image names.
package disk
