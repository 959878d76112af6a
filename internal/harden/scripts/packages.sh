# Installs the packages that the hardening needs. Services of theirs are not started: the next boot does that.
missing=
for package in $NEEDED; do
	installed "$package" || missing="$missing $package"
done
if [ -z "$missing" ]; then exit 0; fi

install_debian() {
	export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 APT_LISTCHANGES_FRONTEND=none
	apt-get --quiet --option DPkg::Lock::Timeout=600 update || return 1
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
