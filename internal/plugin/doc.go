// Package plugin holds the components that Packer sees: the builder strongroom-image. It
// translates between Packer (HCL configuration, steps, communicator, artifact) and
// internal/image, which does the work and knows nothing of Packer.
package plugin
