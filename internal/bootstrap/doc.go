// Package bootstrap starts a cluster for the first time: `hostcheck bootstrap`. One node initialises, no person is needed, and no secret leaves
// memory in the clear. What has been done is kept on the node step by step, so that a run that was cut short is gone on with.
// docs/bootstrap.md has the steps, and says what each crash leaves.
package bootstrap
