# Installs the packages that the hardening needs. Services of theirs are not started: the next boot does that.
missing=
for package in $NEEDED; do
	installed "$package" || missing="$missing $package"
done
if [ -z "$missing" ]; then exit 0; fi

# What the first boot installs by itself comes first.
if command -v cloud-init >/dev/null; then cloud-init status --wait >/dev/null 2>&1; fi

install_debian() {
	export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 APT_LISTCHANGES_FRONTEND=none
	# apt waits for the lock of dpkg, but not for that of its lists, which a timer may hold on a machine that has just started.
	for pause in 10 20 40 80 0; do
		apt-get --quiet --option DPkg::Lock::Timeout=600 update && break
		[ "$pause" -gt 0 ] || return 1
		sleep "$pause"
	done
	# shellcheck disable=SC2086 # a list of names
	apt-get --quiet --yes --no-install-recommends --option DPkg::Lock::Timeout=600 --option Dpkg::Options::=--force-confdef \
		--option Dpkg::Options::=--force-confold --option Dpkg::Use-Pty=0 install $missing
}
install_rhel() {
	# shellcheck disable=SC2086 # a list of names
	dnf --assumeyes --quiet --setopt=install_weak_deps=False install $missing
}
quiet_services "install_$FAMILY" </dev/null || fail "cannot install the packages$missing: look at the network of the machine and at its package sources"
for package in $missing; do
	installed "$package" || fail "the package manager has not installed $package"
	changed "package $package"
done
