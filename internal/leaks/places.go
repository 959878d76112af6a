package leaks

import (
	"bytes"
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/strongroom/strongroom/internal/host"
)

// place is a file that an image must not have, whatever is in it.
type place struct {
	kind     string
	reason   string
	fix      string
	patterns []string           // of absolute paths; ** is any number of directories
	is       func(f *file) bool // nil for all of them
	whole    bool               // all that is below the directory is one finding
}

// fixOf is the way out for a secret in a file.
func fixOf(kind string) string {
	if kind == "private-key" || kind == "age-secret-key" {
		return "remove it and make another, since it was on a disk; give keys to a machine when it starts"
	}
	return "remove it and revoke it, since it was on a disk; give secrets to a machine when it starts"
}

const notInImage = "remove it before the image is made"

// places are asked in this order, and the first that knows a file names it.
var places = []place{
	{kind: "ssh-host-key", reason: "a host key of SSH: every machine of the image would have the same", fix: "rm -f /etc/ssh/ssh_host_*, and let the first start make new ones", patterns: []string{"/etc/ssh/ssh_host_*", "/etc/dropbear/*_host_key"}},
	{kind: "machine-id", reason: "the identity of one machine", fix: "truncate -s 0 /etc/machine-id, and rm -f /var/lib/dbus/machine-id", patterns: []string{"/etc/machine-id", "/var/lib/dbus/machine-id", "/etc/hostid"}, is: namesMachine},
	{kind: "random-seed", reason: "a seed of random numbers that every machine of the image would begin with", fix: notInImage, patterns: []string{"/var/lib/systemd/random-seed", "/var/lib/urandom/random-seed", "/**/loader/random-seed"}},
	{kind: "host-secret", reason: "the secret that systemd encrypts credentials with", fix: notInImage, patterns: []string{"/var/lib/systemd/credential.secret"}},
	{kind: "authorized-keys", reason: "keys that may log in", fix: "remove it, and give keys to a machine when it starts", patterns: []string{"/**/.ssh/authorized_keys*", "/etc/ssh/authorized_keys/**", "/etc/ssh/authorized_keys*"}},
	{kind: "shell-history", reason: "what somebody typed", fix: "remove it, and unset HISTFILE in the build", patterns: []string{
		"/**/.*_history", "/**/.*-history", "/**/.history", "/**/.histfile", "/**/.lesshst", "/**/.viminfo", "/**/.wget-hsts", "/**/fish_history", "/**/ConsoleHost_history.txt"}},
	{kind: "netrc", reason: "passwords for logging in by program", fix: notInImage, patterns: []string{"/**/.netrc", "/**/_netrc"}},
	{kind: "pgpass", reason: "passwords of PostgreSQL", fix: notInImage, patterns: []string{"/**/.pgpass"}},
	{kind: "mysql-credentials", reason: "passwords of MySQL", fix: notInImage, patterns: []string{"/**/.my.cnf", "/**/.mylogin.cnf"}},
	{kind: "docker-config", reason: "log-ins of container registries", fix: notInImage, patterns: []string{"/**/.docker/config.json", "/**/.dockercfg", "/**/containers/auth.json"}},
	{kind: "kube-config", reason: "a way into a Kubernetes cluster", fix: notInImage, patterns: []string{"/**/.kube/config", "/etc/kubernetes/*.conf", "/etc/rancher/k3s/k3s.yaml"}},
	{kind: "vault-token-file", reason: "a token of Vault or OpenBao", fix: "remove it, and revoke the token", patterns: []string{"/**/.vault-token", "/**/.bao-token"}},
	{kind: "cloud-credentials", reason: "credentials of a cloud", fix: "remove it, and give machines a role of their own", patterns: []string{
		"/**/.aws/credentials", "/**/.aws/sso/**", "/**/.aws/cli/cache/**", "/**/.azure/*token*", "/**/.azure/accessTokens.json", "/**/.azure/msal_*", "/**/.azure/service_principal*",
		"/**/gcloud/credentials.db", "/**/gcloud/access_tokens.db", "/**/gcloud/application_default_credentials.json", "/**/gcloud/legacy_credentials/**",
		"/**/.boto", "/**/.s3cfg", "/**/.oci/*.pem", "/**/doctl/config.yaml", "/**/hcloud/cli.toml"}},
	{kind: "git-credentials", reason: "log-ins of Git servers", fix: notInImage, patterns: []string{"/**/.git-credentials", "/**/git/credentials", "/**/gh/hosts.yml", "/**/glab-cli/config.yml"}},
	{kind: "terraform-credentials", reason: "log-ins of Terraform", fix: notInImage, patterns: []string{"/**/.terraform.d/credentials.tfrc.json", "/**/.terraformrc"}},
	{kind: "terraform-state", reason: "the state of Terraform, which has secrets in clear", fix: notInImage, patterns: []string{"/**/terraform.tfstate", "/**/terraform.tfstate.backup", "/**/*.tfstate"}},
	{kind: "gnupg-key", reason: "private keys of GnuPG", fix: notInImage, patterns: []string{"/**/.gnupg/private-keys-v1.d/*", "/**/.gnupg/secring.gpg"}},
	{kind: "keytab", reason: "keys of Kerberos", fix: notInImage, patterns: []string{"/etc/krb5.keytab", "/**/*.keytab"}},
	{kind: "pkcs12-file", reason: "a key store (PKCS#12)", fix: notInImage, patterns: []string{"/**/*.p12", "/**/*.pfx"}},
	{kind: "dot-env", reason: "an environment file, where people keep passwords", fix: "remove it, and give the values to a machine when it starts", patterns: []string{"/**/.env", "/**/.env.*"}, is: notExample},
	{kind: "vault-data", reason: "the data of a Vault or OpenBao server", fix: notInImage, patterns: []string{"/**/raft/raft.db", "/**/vault.db", "/**/raft/snapshots/**"}},
	{kind: "cloud-init-state", reason: "what cloud-init keeps of one machine, user data included", fix: "cloud-init clean --logs --seed", patterns: []string{"/var/lib/cloud/**"}, whole: true},
	{kind: "package-cache", reason: "the cache of a package manager", fix: "apt-get clean and rm -rf /var/lib/apt/lists/*, or dnf clean all", patterns: []string{
		"/var/cache/apt/**", "/var/lib/apt/lists/**", "/var/cache/dnf/**", "/var/cache/yum/**", "/var/cache/libdnf5/**", "/var/cache/apk/**", "/var/cache/pacman/**"}, whole: true},
	{kind: "core-file", reason: "the memory of a program", fix: notInImage, patterns: []string{"/var/lib/systemd/coredump/**", "/var/crash/**", "/**/*"}, is: coreFile},
	{kind: "swap-file", reason: "memory that was swapped out", fix: "swapoff and remove it", patterns: []string{"/**/*"}, is: swapFile},
	{kind: "editor-backup", reason: "what an editor kept of a file that was being written", fix: notInImage, patterns: []string{"/**/.*.sw[a-p]", "/etc/**/*~", "/root/**/*~", "/home/**/*~"}},
	{kind: "key-store", reason: "a key in binary form", fix: notInImage, patterns: []string{"/**/*"}, is: binaryKey},
	{kind: "log", reason: "what programs logged while the image was made", fix: "empty it: find /var/log -type f -delete, or truncate", patterns: []string{"/var/log/**"}},
	{kind: "home-content", reason: "something in a home", fix: "remove it, or keep it below /usr/local or /opt", patterns: []string{"/root/**", "/home/**"}, is: notOfTheSkeleton},
}

// placeOf is the place that a file with something in it is, nil for none, and the path to tell.
func placeOf(f *file) (*place, string) {
	for i := range places {
		p := &places[i]
		for _, pattern := range p.patterns {
			if !doublestar.MatchUnvalidated(pattern, f.path) || p.is != nil && !p.is(f) {
				continue
			}
			if dir, _ := doublestar.SplitPattern(pattern); p.whole {
				return p, dir
			}
			return p, f.path
		}
	}
	return nil, ""
}

// namesMachine: an empty machine-id, and one that asks to be made at the first start, name nothing.
func namesMachine(f *file) bool {
	text := strings.TrimSpace(string(f.head))
	return text != "" && text != "uninitialized"
}

func notExample(f *file) bool {
	switch path.Ext(f.path) {
	case ".example", ".sample", ".template", ".dist", ".tmpl":
		return false
	}
	return true
}

// coreFile is an ELF file of type ET_CORE, or anything in the places where the system keeps what crashed.
func coreFile(f *file) bool {
	if strings.HasPrefix(f.path, "/var/lib/systemd/coredump/") || strings.HasPrefix(f.path, "/var/crash/") {
		return true
	}
	h := f.head
	if len(h) < 18 || !bytes.HasPrefix(h, []byte("\x7fELF")) {
		return false
	}
	const etCore = 4
	if bigEndian := h[5] == 2; bigEndian {
		return h[16] == 0 && h[17] == etCore
	}
	return h[16] == etCore && h[17] == 0
}

// swapFile has the mark of mkswap(8) at the end of its first page, whose size is the machine's.
func swapFile(f *file) bool {
	for _, page := range []int{4 << 10, 16 << 10, 64 << 10} {
		if len(f.head) >= page && string(f.head[page-10:page]) == "SWAPSPACE2" {
			return true
		}
	}
	return false
}

// notOfTheSkeleton: the files that a distribution puts into every home are no findings for being there.
func notOfTheSkeleton(f *file) bool {
	switch path.Base(f.path) {
	case ".bashrc", ".profile", ".bash_profile", ".bash_logout", ".cshrc", ".tcshrc", ".zshrc":
		return false
	}
	return true
}

// binaryKey is a key or a store of keys that is no text.
func binaryKey(f *file) bool { return host.SecretFile(f.head) != "" }
