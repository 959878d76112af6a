# Tells what is on the machine of what the plugin manages. It changes nothing.
xargs -0 sh -c 'find "$@" -maxdepth 0 -printf "strongroom: entry=%y %m %U %G %p\t%l\n"' sh <"$here/managed.list" 2>/dev/null
xargs -0 sha256sum -z -- <"$here/hashed.list" 2>/dev/null | tr '\0' '\n' | sed 's/^/strongroom: sum=/'
for package in $NEEDED; do
	installed "$package" || say "lacks=package $package"
done
for profile in $PROFILES; do
	[ -s "${profile%.profile}.policy" ] || say "lacks=policy $profile"
done
for account in $ACCOUNTS; do
	grep -q "^$account:" /etc/passwd || say "lacks=account $account"
done
if ! grep -q "^IMAGE_ID=$IMAGE_ID\$" /usr/lib/os-release || ! grep -q "^IMAGE_VERSION=$IMAGE_VERSION\$" /usr/lib/os-release; then
	say 'lacks=name of the image in os-release'
fi
if [ "$FAMILY" = debian ]; then
	for argument in $ARGUMENTS; do
		grep -qsF -- " $argument" /boot/grub/grub.cfg || say "lacks=kernel argument $argument"
	done
else
	for argument in $ARGUMENTS; do
		grubby --info=DEFAULT 2>/dev/null | grep -qF -- "$argument" || say "lacks=kernel argument $argument"
	done
	grep -qs '^SELINUX=enforcing' /etc/selinux/config || say 'lacks=SELinux'
fi
if stale_initramfs; then say 'lacks=blocked modules in the initramfs'; fi
if [ -e "$ARMED/armed" ]; then say armed=yes; fi
say state=complete
