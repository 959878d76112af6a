// Package aws makes an AMI of a disk and a launch template of the AMI. The disk goes block by block into a snapshot
// (EBS direct APIs), and RegisterImage makes the AMI: importing an image by way of S3 can give it neither a TPM nor
// UEFI variables.
package aws
