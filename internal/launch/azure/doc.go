// Package azure makes a version of a Compute Gallery image of a disk, and lets a scale set start its machines from it. The disk
// goes page by page into a managed disk, from which the gallery copies it, and which is removed again.
package azure
