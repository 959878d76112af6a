// Package plugin holds the components that Packer sees: the builder strongroom-image, the data source
// strongroom-release and the post-processor strongroom-launch-template. It translates between Packer (HCL configuration,
// steps, communicator, artifact) and internal/image, internal/release and internal/launch, which do the work and know
// nothing of Packer.
package plugin
