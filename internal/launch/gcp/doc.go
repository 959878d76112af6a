// Package gcp makes a Compute Engine image of a disk and an instance template of the image. The disk goes through an object of
// Cloud Storage, which is removed again. An instance template never changes, so that its name has a digest of what it says.
package gcp
