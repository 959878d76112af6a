// Package plugin holds the components that Packer sees: the builder strongroom-image and the data source
// strongroom-release. It translates between Packer (HCL configuration, steps, communicator, artifact) and
// internal/image and internal/release, which do the work and know nothing of Packer.
package plugin
