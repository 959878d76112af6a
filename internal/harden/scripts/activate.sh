# Activates the hardening: takes away what the builder's connection stands on, and every trace of the build. It runs at the
# shutdown that the builder orders, when all services have ended, or in a rehearsal of it. What fails does not stop it: the
# more is done the better, and the gate of the next boot judges the result.
failed=0
attempt() {
	"$@" || {
		problem "$1 failed"
		failed=1
	}
}

case ${1:-} in
'')
	[ -e "$here/armed" ] || exit 0
	# Somebody who stops the unit by hand is not a shutdown.
	[ "$(systemctl is-system-running 2>/dev/null)" = stopping ] || exit 0
	echo 'strongroom: activating the hardening'
	journalctl --relinquish-var 2>/dev/null # or the journal would write into what is removed
	# Maintainer scripts see no systemd, and no process of this machine that they could stop.
	exec unshare --mount --pid --fork sh "$0" shutdown
	;;
shutdown)
	mount -t proc proc /proc
	mount -t tmpfs -o mode=0755 strongroom /run/systemd
	;;
esac

# Packages that a node must not have, and those of the connection.
remove_debian() {
	export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 SUDO_FORCE_REMOVE=yes
	rm -rf -- /var/lib/apt/lists/* # they are not asked, and reading them takes long
	# shellcheck disable=SC2086 # a list of names
	going=$(apt-get --simulate --allow-change-held-packages purge $unwanted | awk '$1 == "Purg" || $1 == "Remv" { print $2 }')
	for package in $NEEDED; do
		for name in $going; do
			if [ "$name" = "$package" ]; then
				problem "without$unwanted the package $package, which is needed, would go too"
				return 1
			fi
		done
	done
	# shellcheck disable=SC2086 # a list of names
	apt-get --quiet --yes --no-download --allow-change-held-packages --option DPkg::Lock::Timeout=300 --option Dpkg::Use-Pty=0 purge $unwanted
}
remove_rhel() {
	# shellcheck disable=SC2086 # a list of names
	rpm --erase --nodeps --allmatches $unwanted
}
remove_packages() {
	unwanted=
	for package in $UNWANTED; do
		if installed "$package"; then unwanted="$unwanted $package"; fi
	done
	if [ -z "$unwanted" ]; then return 0; fi
	quiet_services "remove_$FAMILY" </dev/null
}

# What of the overlay changes how the machine starts: masks, what is enabled, name resolution.
place_late() {
	place "$here/late.tar" "$here/late.list" >/dev/null || return 1
	if [ "$FAMILY" = rhel ] && [ "${1:-}" != rehearsal ]; then
		cut -d ' ' -f 5- "$here/late.list" | tr '\n' '\0' | xargs -0 restorecon -F --
	fi
}

remove_ssh() {
	rm -rf -- /etc/ssh /etc/default/ssh /etc/sysconfig/sshd
	rm -f -- /usr/sbin/sshd
}

# without_lines FILE NAME: takes the lines of an account out of a file of the account database.
without_lines() {
	if [ -e "$1" ]; then
		awk -F: -v name="$2" '$1 != name' "$1" >"$here/lines" && replace "$1" <"$here/lines"
	fi
}

# The account that the builder has connected as goes with its home. Only root stays.
remove_build_user() {
	uid=$(awk -F: -v name="$BUILD_USER" '$1 == name { print $3 }' /etc/passwd)
	home=$(awk -F: -v name="$BUILD_USER" '$1 == name { print $6 }' /etc/passwd)
	if [ -z "$uid" ] || [ "$uid" = 0 ]; then return 0; fi
	for file in /etc/passwd /etc/shadow /etc/subuid /etc/subgid; do
		without_lines "$file" "$BUILD_USER" || return 1
	done
	for file in /etc/group /etc/gshadow; do
		[ -e "$file" ] || continue
		# Its own group, and its name among the members and administrators of others.
		awk -F: -v OFS=: -v name="$BUILD_USER" '
			$1 == name { next }
			{
				for (field = 3; field <= 4; field++) {
					if (field == 3 && FILENAME !~ /gshadow/) continue
					count = split($field, members, ",")
					$field = ""
					for (i = 1; i <= count; i++)
						if (members[i] != name) $field = $field ($field == "" ? "" : ",") members[i]
				}
				print
			}' "$file" >"$here/lines" && replace "$file" <"$here/lines" || return 1
	done
	case $home in
	/ | /root | /usr* | /etc* | /var | '') ;;
	/*) rm -rf --one-file-system -- "$home" ;;
	esac
	rm -rf -- "/var/mail/$BUILD_USER" "/var/spool/cron/crontabs/$BUILD_USER" "/var/spool/cron/$BUILD_USER"
}

# Nobody logs in: no password, no shell, no key.
close_accounts() {
	awk -F: -v OFS=: '$2 !~ /^[!*]/ { $2 = "*" } { print }' /etc/shadow >"$here/lines" && replace /etc/shadow <"$here/lines" || return 1
	sed 's#:[^:]*$#:/usr/sbin/nologin#' /etc/passwd >"$here/lines" && replace /etc/passwd <"$here/lines" || return 1
	# Without sudo nobody reads them; the package leaves a directory in which somebody has put a file.
	rm -rf -- /etc/sudoers.d /etc/sudoers
	# Copies of the old ones.
	rm -f -- /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /etc/subuid- /etc/subgid- /etc/.pwd.lock
	rm -rf -- /var/backups/*
	for home in $(awk -F: '{ print $6 }' /etc/passwd | sort -u) /home/*; do
		rm -f -- "$home/.ssh/authorized_keys" "$home/.ssh/authorized_keys2" "$home/.ssh/known_hosts" "$home/.ssh/known_hosts.old"
		if [ -d "$home/.ssh" ]; then rmdir -- "$home/.ssh" 2>/dev/null; fi
	done
	return 0
}

# Nobody becomes somebody else on a node, so no program needs a bit for it.
remove_privileges() {
	for point in $(awk '$3 ~ /^(ext[234]|xfs|btrfs|f2fs|overlay)$/ { print $2 }' /proc/self/mounts | sort -u); do
		find "$point" -xdev -type f -perm /6000 -exec chmod a-s -- {} + || return 1
	done
}

# What would be the same on every machine made of this image, and must not be.
remove_identity() {
	: >/etc/machine-id
	chmod 0444 /etc/machine-id
	if [ -f /var/lib/dbus/machine-id ] && [ ! -L /var/lib/dbus/machine-id ]; then rm -f /var/lib/dbus/machine-id; fi
	rm -f -- /etc/hostname /var/lib/systemd/random-seed /var/lib/urandom/random-seed /etc/iscsi/initiatorname.iscsi
	rm -f -- /boot/efi/loader/random-seed 2>/dev/null # a rehearsal cannot
	rm -rf -- /var/lib/dhcp/* /var/lib/dhcpcd/* /var/lib/dhclient/* /var/lib/systemd/network/* /var/lib/NetworkManager/* /var/lib/systemd/timers/* \
		/var/lib/systemd/credential.secret
	# The agents of Azure and AWS keep there the keys that they registered this one machine with.
	rm -rf -- /var/lib/waagent /var/lib/amazon/ssm
	rm -rf -- /var/lib/cloud /etc/netplan/50-cloud-init.yaml /etc/network/interfaces.d/50-cloud-init /etc/cloud/cloud-init.disabled \
		/etc/NetworkManager/system-connections/cloud-init-*.nmconnection
}

# What only the build needed.
remove_leftovers() {
	rm -rf -- /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/cache/dnf/* /var/cache/yum/* /var/cache/debconf/*-old
	find /tmp /var/tmp -xdev -mindepth 1 -delete 2>/dev/null
	rm -rf -- /var/lib/sudo /run/sudo
	# Swap is nobody's memory that could be read later.
	if grep -q '^[^#].*[[:space:]]swap[[:space:]]' /etc/fstab 2>/dev/null; then
		for file in $(awk '!/^#/ && $3 == "swap" && $1 ~ /^\// { print $1 }' /etc/fstab); do
			if [ -f "$file" ]; then rm -f -- "$file"; fi
		done
		awk '/^#/ || $3 != "swap"' /etc/fstab >"$here/lines" && replace /etc/fstab <"$here/lines" || return 1
	fi
	return 0
}

# In a rehearsal these stay, so that a secret in one of them is found and told, not carried away unseen.
remove_records() {
	for home in $(awk -F: '{ print $6 }' /etc/passwd | sort -u); do
		rm -f -- "$home/.bash_history" "$home/.sh_history" "$home/.ash_history" "$home/.zsh_history" "$home/.lesshst" "$home/.viminfo" "$home/.wget-hsts" \
			"$home/.python_history"
	done
	rm -rf -- /var/log/journal/*
	find /var/log -xdev -type f -delete
}

attempt remove_packages
attempt place_late "${1:-}"
attempt remove_ssh
attempt remove_build_user
attempt close_accounts
attempt remove_privileges
attempt remove_identity
attempt remove_leftovers
if [ "${1:-}" != rehearsal ]; then
	attempt remove_records
	sync
	if [ "$failed" = 0 ]; then echo 'strongroom: the hardening is active from the next boot on'; else echo 'strongroom: not all of the hardening is active; the gate will tell'; fi
fi
exit "$failed"
