// Package retire listens to the cloud for the word that this machine goes for good, has the node taken out of its cluster, asks the cloud
// for time meanwhile, and tells it when the machine may go. docs/retire.md has the clouds and what each needs.
package retire
