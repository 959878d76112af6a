// Package discover finds the members of a cluster in a cloud: it lists the running instances that have a tag, by the identity that the
// cloud has given this instance, and by nothing else. It understands the configuration strings of hashicorp/go-discover for AWS, Google
// Cloud and Azure, and asks three documented endpoints, because what the clouds' libraries link costs every verb of hostcheck memory
// (docs/decisions/small-agent.md).
//
// Whom it finds is a proposal: the cluster's joiner believes a member by its certificate.
package discover
