// Package measure knows what a TPM will have measured when an image has booted: it calculates the platform configuration
// registers (PCRs) of a unified kernel image, and it is the statement of those values that lies beside an image. The root does
// not carry it: what is measured cannot contain its own measurement.
package measure
