# Makes of a Debian tree what stands in for one of the RHEL family: $1 the tree, $2 the release. Files are where that family has them; its package manager, boot loader,
# dracut and SELinux's tools are stand-ins that do what the scripts ask of them.
set -eu
cd "$1"
printf 'NAME="Rocky Linux"\nID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="%s.1"\nPRETTY_NAME="Rocky Linux %s.1"\n' "$2" "$2" >usr/lib/os-release
mkdir -p etc/selinux etc/sysconfig etc/yum.repos.d etc/dnf etc/pki/rpm-gpg boot/loader/entries var/lib/stand-in
chroot . dpkg --purge --force-all cron cron-daemon-common logrotate # its minimal set has none
printf 'SELINUX=permissive\nSELINUXTYPE=targeted\n' >etc/selinux/config
printf 'options root=/dev/sda3 ro crashkernel=1G rhgb quiet\n' >boot/loader/entries/one.conf
chmod 0550 root
chmod 0000 etc/shadow etc/gshadow
chgrp 0 etc/shadow etc/gshadow
for name in acpid ca-certificates chrony kmod nftables NetworkManager selinux-policy-targeted policycoreutils openssh-server sudo rsync; do : >"var/lib/stand-in/$name"; done
cat >usr/local/sbin/rpm <<'EOF'
#!/bin/sh
case "$1 $2" in
"--quiet --query") [ -e "/var/lib/stand-in/$3" ] ;;
"--erase --nodeps")
	shift 3
	for name in "$@"; do
		case $name in sudo | rsync | openssh-server) SUDO_FORCE_REMOVE=yes dpkg --purge --force-all "$name" ;; esac
		rm "/var/lib/stand-in/$name"
	done
	dpkg --purge --force-all openssh-client openssh-sftp-server
	;;
*) exit 1 ;;
esac
EOF
printf '#!/bin/sh\ntouch /boot/initramfs-1.img\n' >usr/local/sbin/dracut
cat >usr/local/sbin/grubby <<'EOF'
#!/bin/sh
for argument in "$@"; do
	case $argument in
	--args=*) echo "options root=/dev/sda3 ro ${argument#--args=}" >/boot/loader/entries/one.conf ;;
	esac
done
EOF
for name in semodule restorecon dnf; do printf '#!/bin/sh\nexit 0\n' >"usr/local/sbin/$name"; done
chmod 0755 usr/local/sbin/*
