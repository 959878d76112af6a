// Package secureboot signs EFI programs for UEFI Secure Boot, and makes what a machine needs to know the signer: the
// certificates, and the signed updates of its variables PK, KEK and db.
package secureboot
