# What every script begins with, behind the values that the plugin has filled in. Plain POSIX sh: a machine may have no bash.
set -u
umask 022
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
here=$(dirname -- "$0")
cd /

# Lines for the plugin: say KEY=VALUE is a fact, changed names what was changed, problem is why it cannot go on.
say() { printf 'strongroom: %s\n' "$*"; }
changed() { say "changed=$*"; }
problem() { say "problem=$*"; }
fail() {
	problem "$*"
	exit 1
}

# installed_debian PACKAGE: says whether dpkg has it configured.
installed_debian() { [ "$(dpkg-query --show --showformat='${db:Status-Abbrev}' "$1" 2>/dev/null)" = 'ii ' ]; }
installed_rhel() { rpm --quiet --query "$1" 2>/dev/null; }
installed() { "installed_$FAMILY" "$1"; }

# replace FILE: puts standard input in the place of a file, whole or not at all, with the mode, owner and label of the old one.
replace() {
	cp -a -- "$1" "$1.strongroom-new" && cat >"$1.strongroom-new" && mv -f -T -- "$1.strongroom-new" "$1"
}

# same FILE DIGEST: says whether a file has that SHA-256.
same() { [ "$(sha256sum 2>/dev/null <"$1" | cut -d ' ' -f 1)" = "$2" ]; }

# place TAR LIST: puts files and links of an archive in their places, each in one rename, and makes the directories that the
# list states. A line of the list is a type (d, f or l), a mode, an owner, a group and a path, which ends the line.
place() {
	staging=$(mktemp -d /var/tmp/strongroom-staging.XXXXXXXXXX) || return 1
	tar --extract --preserve-permissions --numeric-owner --same-owner --touch --directory="$staging" --file="$1" || return 1
	while IFS=' ' read -r type mode uid gid path; do
		if [ "$type" = d ]; then
			mkdir -p -- "$path" && chown "$uid:$gid" -- "$path" && chmod "$mode" -- "$path" || return 1
		else
			[ -d "${path%/*}/" ] || mkdir -p -- "${path%/*}/" || return 1
			# Not the label of the staging directory, where there are labels.
			cp --no-dereference --preserve=mode,ownership,timestamps -- "$staging$path" "$path.strongroom-new" && mv -f -T -- "$path.strongroom-new" "$path" || return 1
		fi
		changed "$path"
	done <"$2"
	rm -rf -- "$staging"
}

# stale_initramfs says whether an initramfs is older than what says which modules are blocked.
stale_initramfs() {
	for image in /boot/initrd.img-* /boot/initramfs-*; do
		case $image in
		*rescue* | *kdump* | *\* | *.bak | *.old* | *.dpkg*) continue ;;
		esac
		[ -n "$(find /usr/lib/modprobe.d -name '*-strongroom-*' -newer "$image")" ] && return 0
	done
	return 1
}

# quiet_services COMMAND...: runs a package manager while no service of a package may be started or stopped.
quiet_services() {
	if [ "$FAMILY" != debian ]; then
		"$@"
		return
	fi
	policy=/usr/sbin/policy-rc.d
	# What an interrupted run has left is not the machine's own.
	if [ -e "$policy" ] && ! grep -q strongroom-harden "$policy"; then
		mv -f -- "$policy" "$policy.strongroom-saved" || return 1
	fi
	printf '#!/bin/sh\n# strongroom-harden\nexit 101\n' >"$policy" && chmod 0755 "$policy" || return 1
	"$@"
	result=$?
	if [ -e "$policy.strongroom-saved" ]; then
		mv -f -- "$policy.strongroom-saved" "$policy"
	else
		rm -f -- "$policy"
	fi
	return "$result"
}
