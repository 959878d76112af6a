# Tells the boot loader the arguments of the kernel, and takes what is blocked into the initramfs.
if stale_initramfs; then
	if [ "$FAMILY" = debian ]; then
		update-initramfs -u -k all || fail 'update-initramfs fails'
	else
		dracut --force --regenerate-all || fail 'dracut fails'
	fi
	changed initramfs
fi
sh -c "$BOOT_COMMAND" || fail "the boot loader does not take the arguments of the kernel: $BOOT_COMMAND"
changed 'boot loader'
