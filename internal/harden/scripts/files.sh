# Puts the files of the overlay in their places, makes its accounts, compiles its policies, and tells the boot loader its
# arguments. Nothing is started, stopped or reloaded: the next boot does that.
same "$here/now.tar" "$NOW_SHA256" || fail 'the upload of the overlay has another SHA-256 than it had when it was made'
place "$here/now.tar" "$here/now.list" || fail 'cannot put the files of the overlay in their places'

if [ -n "$ACCOUNTS" ]; then
	systemd-sysusers || fail 'systemd-sysusers cannot make the accounts'
fi

if [ -n "$IMAGE_VERSION" ]; then
	sed -e '/^IMAGE_ID=/d' -e '/^IMAGE_VERSION=/d' -e "\$a IMAGE_ID=$IMAGE_ID\\nIMAGE_VERSION=$IMAGE_VERSION" /usr/lib/os-release >"$here/os-release"
	if ! cmp -s "$here/os-release" /usr/lib/os-release; then
		replace /usr/lib/os-release <"$here/os-release" || fail 'cannot name the image in os-release'
		changed /usr/lib/os-release
	fi
fi

for profile in $PROFILES; do
	policy=${profile%.profile}.policy
	: >"$here/apparmor.conf"
	apparmor_parser --config-file="$here/apparmor.conf" --features-file="$here/apparmor.features" --skip-kernel-load --skip-cache \
		--Werror=rule-not-enforced --stdout "$profile" >"$here/policy" && [ -s "$here/policy" ] || fail "cannot compile the AppArmor profile $profile"
	if ! cmp -s "$here/policy" "$policy"; then
		cp -- "$here/policy" "$policy.strongroom-new" && mv -f -T -- "$policy.strongroom-new" "$policy" || fail "cannot write $policy"
		changed "$policy"
	fi
done

if [ "$FAMILY" = rhel ]; then
	for module in /usr/lib/strongroom/selinux/*.cil; do
		[ -e "$module" ] || continue
		semodule --noreload --install="$module" || fail "cannot install the SELinux module $module"
	done
	if ! grep -q '^SELINUX=enforcing' /etc/selinux/config; then
		sed '/^SELINUX=/d' /etc/selinux/config >"$here/selinux" && echo SELINUX=enforcing >>"$here/selinux" && replace /etc/selinux/config <"$here/selinux" ||
			fail 'cannot make SELinux enforcing at the next boot'
		changed /etc/selinux/config
	fi
	# On a machine where SELinux was off, every file has to get its label, and the next boot gives it.
	if [ ! -e /sys/fs/selinux/enforce ]; then : >/.autorelabel; fi
	xargs -0 restorecon -F -- <"$here/managed.list" || fail 'cannot restore the SELinux labels of what was installed'
fi
