// Package launch turns a finished image into what an autoscaling group starts machines from. It holds what the
// providers have in common: the image, the node's configuration, the way back when a step fails, and the
// directory of a dry run. A provider is a package below this one: aws, gcp, azure.
package launch
