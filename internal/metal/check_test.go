package metal

import (
	"strings"
	"testing"
)

// broken is one change to what was rendered, and what the checks have to say to it.
type broken struct{ old, new, says string }

func TestChecksRefuse(t *testing.T) {
	for id, changes := range map[string][]broken{
		"debian/trixie": {
			{"d-i passwd/make-user boolean false", "d-i passwd/make-user boolean true", `only "false" will do`},
			{"passwd/root-password-crypted password *", "passwd/root-password password geheim", "passwd/root-password: no such question"},
			{"d-i clock-setup/utc boolean true", "d-i clock-setup/utc string true", "it is of type boolean"},
			{"d-i clock-setup/ntp boolean false", "d-i clock-setup/ntp boolean no", "neither true nor false"},
			{"d-i clock-setup/utc boolean true", "d-i clock-setup/ntp boolean false", "answered twice"},
			{"d-i clock-setup/utc boolean true", "d-i debian-installer/allow_unauthenticated_ssl boolean true", "no such question"},
			{"d-i clock-setup/utc boolean true", "d-i clock-setup/utc", "is not an owner"},
			{"tasksel tasksel/first multiselect", "tasksel tasksel/first multiselect ssh-server", "only"},
			{"pkgsel/include string ", "pkgsel/include string openssh-server ", "a way in"},
			{"filesystem{ ext4 } mountpoint{ /var/log/vault }", "method{ swap }", "it has swap"},
			{"set -eu; \\\n  trap \"rm", "trap \"rm", "does not begin with set -eu"},
			{"preseed/late_command string sh -c 'set -eu", "preseed/late_command string sh -c 'set -u", "does not begin with set -eu"},
			{"https://srv.example/node/install.sh;", "http://srv.example/node/install.sh;", "is not https"},
			{"wget --no-verbose", "wget --no-check-certificate", "certificate has to hold"},
			{"  echo \"" + someDigest, "  echo \"1234", "hides the failure"},
			{"  echo \"" + someDigest + "  /tmp/strongroom-install.sh\" | sha256sum -c; \\\n", "", "before it is compared"},
			{"  sh /tmp/strongroom-install.sh;", "  sh /tmp/strongroom-install.sh || true;", "|| hides the failure"},
			{"  sh /tmp/strongroom-install.sh;", "  sh /tmp/strongroom-install.sh & wait;", "background"},
			{"  sh /tmp/strongroom-install.sh;", "  ! sh /tmp/strongroom-install.sh;", "negates"},
			{"  sh /tmp/strongroom-install.sh;", "  set +e; sh /tmp/strongroom-install.sh;", "every failure has to be fatal"},
			{"  sh /tmp/strongroom-install.sh;", "  sh -c \"set -u; true\"; sh /tmp/strongroom-install.sh;", "does not begin with set -eu"},
			{"  sh /tmp/strongroom-install.sh;", "  fetch-url https://srv.example/x /tmp/x; sh /tmp/strongroom-install.sh;", "without a digest"},
			{"  sh /tmp/strongroom-install.sh;", "  eval \"$(cat /tmp/x)\"; sh /tmp/strongroom-install.sh;", "cannot be checked"},
			{"  sh /tmp/strongroom-install.sh;", "  (sh /tmp/strongroom-install.sh);", "only simple commands"},
			{"partman-auto/method string regular", "partman-auto/method string lvm", "only \"regular\""},
		},
		"rhel/9": {
			{"rootpw --lock", "rootpw geheim", "rootpw needs --lock"},
			{"selinux --enforcing", "selinux --permissive", "option --permissive"},
			{"selinux --enforcing\n", "", "selinux is missing"},
			{"firewall --enabled", "firewall --disabled", "firewall needs --enabled"},
			{"zerombr", "user --name=admin --password=x", "the command user is not known"},
			{"zerombr", "sshkey --username=root x", "the command sshkey is not known"},
			{"zerombr", "%include http://srv/x", "nothing pins"},
			{"zerombr", "keyboard de", "keyboard is there twice"},
			{"url --url=https://", "url --url=http://", "not a URL of the form https://"},
			{"url --url=https://", "url --noverifyssl --url=https://", "--noverifyssl"},
			{"clearpart --all --drives=disk/by-id/ata-DISK_1234", "clearpart --all", "clearpart needs --drives="},
			{"clearpart --all --drives=disk/by-id/ata-DISK_1234", "clearpart --all --drives=disk/by-id/other", "one disk"},
			{"ignoredisk --only-use=disk/by-id/ata-DISK_1234", "ignoredisk --only-use=sda", "one disk"},
			{"part /boot --fstype=xfs", "part swap --fstype=swap", "it has swap"},
			{"-openssh-server", "openssh-server", "a way in"},
			{"%post --nochroot --erroronfail", "%post --nochroot", "%post needs --erroronfail"},
			{"%pre --erroronfail --log=/tmp/strongroom-pre.log\nset -eu\n", "%pre --erroronfail\n", "does not begin with set -eu"},
			{"curl --fail", "curl --location --fail", "redirection"},
			{"sh /tmp/strongroom-install.sh\n", "sh /tmp/strongroom-install.sh | tee /root/log\n", "| hides the failure"},
			{"%onerror --log=/tmp/strongroom-error.log", "%addon com_redhat_kdump --disable", "section %addon"},
			{"lang en_US.UTF-8", "lang \"en_US.UTF-8", "not closed"},
		},
		"ubuntu/noble": {
			{"#cloud-config\n", "", "none of a preseed"},
			{"  ssh: {install-server: false}", "  ssh: {install-server: true}", "autoinstall.ssh.install-server"},
			{"  ssh: {install-server: false}", "  ssh: {install-server: false, authorized-keys: [x]}", "autoinstall.ssh.authorized-keys: no such key"},
			{"swap: {size: 0}", "swap: {size: 1G}", "autoinstall.storage.swap.size"},
			{"users: []", "users: [{name: admin}]", "has to be an empty list"},
			{"disable_root: true", "disable_root: false", "has to be true"},
			{"  shutdown: reboot", "  late-comands: []", "no such key"},
			{"  shutdown: reboot", "  identity: {username: x, hostname: y, password: z}", "it makes an account"},
			{"  shutdown: reboot", "  timezone: Europe/Berlin", "there twice"},
			{"packages: [", "packages: [openssh-server, ", "a way in"},
			{"match: {path: STRONGROOM-DISK}", "match: {size: largest}", "a disk is found by"},
			{"  late-commands:\n    - |\n      set -eu\n", "  late-commands:\n    - |\n", "does not begin with set -eu"},
			{"      sh /tmp/strongroom-install.sh\n", "      sh /tmp/strongroom-install.sh || :\n", "|| hides the failure"},
			{"version: 1", "version: 2", "autoinstall.version"},
		},
	} {
		good := string(render(config(t, id), someDigest))
		for _, c := range changes {
			if !strings.Contains(good, c.old) {
				t.Errorf("%s: there is no %q to change", id, c.old)
				continue
			}
			err := Check("file", []byte(strings.Replace(good, c.old, c.new, 1)))
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %q in place of %q: %v, want %q", id, c.new, c.old, err, c.says)
			}
		}
	}
}

// What a user may do in a command of their own.
func TestChecksAllow(t *testing.T) {
	for _, text := range []string{
		"set -e\nmkdir -p /target/srv\n",
		"set -eux; cp /a /b; if grep -q x /b; then rm /b; fi",
		"sh -c 'set -e; true'",
		"set -eu\ncurl --fail -o /tmp/a https://srv.example/a\necho \"" + someDigest + "  /tmp/a\" | sha256sum -c\ntar -xf /tmp/a -C /target\n",
	} {
		if err := checkShell("command", text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzCheck(f *testing.F) {
	f.Add("#cloud-config\nautoinstall:\n  version: 1\n  storage: {config: [{type: disk}]}\n  late-commands: [\"set -e; true\"]\n")
	f.Add("d-i a/b string c \\\n  d\nd-i preseed/late_command string sh -c 'set -eu; wget -O /a https://b'\n")
	f.Add("url --url=\"https://x\"\n%packages\n@core\n%end\n%post --erroronfail\nset -eu\necho a | sha256sum -c\n%end\n")
	f.Fuzz(func(t *testing.T, text string) {
		// Whatever it is, it is refused or it has what an unattended installation needs.
		if err := Check("file", []byte(text)); err == nil && !strings.Contains(text, "set -") {
			t.Errorf("%q passes", text)
		}
	})
}
