# Hardens the tree that an installer has made, and lets hostcheck judge it as the last act. Plain POSIX sh: it runs in Debian's installer (busybox), in
# Anaconda and in Ubuntu's. Whatever fails ends it, is told on the console, and leaves a disk with nothing to boot.
set -eu
umask 022
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH

here=.strongroom-install
work=$TARGET/$here
scratch=$(mktemp -d /tmp/strongroom.XXXXXX)
held=
complete=no

# tell LINE: into the installer's log, and onto the console, where somebody may look.
tell() {
	printf 'strongroom: %s\n' "$*"
	if [ -n "$CONSOLE" ]; then printf 'strongroom: %s\n' "$*" 2>/dev/null >"$CONSOLE" || :; fi
}
fail() {
	tell "$*"
	exit 1
}

# hold POINT ARGUMENT...: mounts something below the target until the end, unless the installer has done so.
hold() {
	point=$1
	shift
	if grep -q " $point " /proc/self/mounts; then return 0; fi
	mount "$@" "$point" || fail "cannot mount $point"
	held="$point $held"
}
release() {
	for point in $held; do umount "$point" || return 1; done
	held=
}

ended() {
	status=$?
	trap - EXIT
	set +e
	release
	rm -rf -- "$work" "$scratch"
	if [ "$complete" = yes ]; then exit 0; fi
	# Half of a hardening must not start: without kernel and boot loader nothing does.
	rm -rf -- "${TARGET:?}"/boot/efi/* "${TARGET:?}"/boot/* 2>/dev/null
	sync
	tell "THE INSTALLATION HAS FAILED (status $status): what is on the disk is no node, and has nothing to boot"
	exit 1
}
trap ended EXIT
trap 'exit 1' HUP INT TERM

[ -d "$TARGET/usr" ] || fail "there is no system at $TARGET"
rm -rf -- "$work"
mkdir -m 0700 -- "$work"

if command -v curl >/dev/null; then
	download() { curl --fail --silent --show-error --proto '=https' --max-redirs 0 --retry 3 --connect-timeout 60 --speed-limit 1 --speed-time 60 ${authority:+--cacert "$authority"} --output "$2" "$1"; }
else
	download() { wget --no-verbose --https-only --max-redirect=0 --tries=4 --timeout=60 ${authority:+--ca-certificate="$authority"} -O "$2" "$1"; }
fi
authority=
if [ -n "$CA" ]; then
	authority=$scratch/ca.pem
	printf '%s' "$CA" >"$authority"
fi

# Everything comes by HTTPS and has the SHA-256 that was known when this script was rendered.
while read -r digest name place; do
	tell "fetching $name"
	download "$URL/$name" "$work/$place" || fail "cannot fetch $URL/$name"
	sum=$(sha256sum <"$work/$place")
	[ "${sum%% *}" = "$digest" ] || fail "$URL/$name has the SHA-256 ${sum%% *}, and not $digest: it is not what was rendered, or a redirection"
done <<EOF
$FILES
EOF
tar -xf "$work/hardening.tar" -C "$work"
ln "$work/now.tar" "$work/late.tar"

if [ -n "$NETWORK" ]; then
	mkdir -p -- "$TARGET/etc/systemd/network"
	printf '%s' "$NETWORK" >"$TARGET/etc/systemd/network/10-site.network"
fi

hold "$TARGET/dev" -o bind /dev
hold "$TARGET/proc" -t proc proc
hold "$TARGET/sys" -t sysfs sysfs
hold "$TARGET/run" -t tmpfs -o mode=0755 tmpfs
for step in $STEPS; do
	tell "step $step"
	status=0
	chroot "$TARGET" /bin/sh "/$here/$step.sh" install </dev/null >"$scratch/log" 2>&1 || status=$?
	cat "$scratch/log"
	[ "$status" = 0 ] || fail "the step $step has failed (status $status): $(sed -n 's/^strongroom: problem=//p' "$scratch/log")"
done
rm -rf -- "$work"
release || fail "cannot unmount what the steps needed"
if [ "$INSTALLER" = preseed ]; then
	# What Debian's installer has set for itself, and takes back by a hook that does not run any more (below), or never: writes that are not synced, signatures of
	# any age, media that need no signature.
	for name in apt/apt.conf.d/00NoMountCDROM apt/apt.conf.d/00IgnoreTimeConflict apt/apt.conf.d/00AllowUnauthenticated apt/apt.conf.d/00trustcdrom dpkg/dpkg.cfg.d/force-unsafe-io; do
		rm -f -- "$TARGET/etc/$name"
	done
fi

# hostcheck sees the disks, and nothing that the installer has mounted on them beside.
tell "verifying"
mkdir "$scratch/view"
mount -o bind "$TARGET" "$scratch/view"
held=$scratch/view
while read -r _ point type _; do
	case $point in "$TARGET"/*) ;; *) continue ;; esac
	case $type in
	ext[234] | xfs | vfat)
		mount -o bind "$point" "$scratch/view${point#"$TARGET"}"
		held="$scratch/view${point#"$TARGET"} $held"
		;;
	esac
done </proc/self/mounts
status=0
"$TARGET/usr/bin/hostcheck" verify --stage image --root "$scratch/view" >"$scratch/report" 2>&1 || status=$?
cat "$scratch/report"
[ "$status" = 0 ] || fail "hostcheck does not pass the installed system (status $status): $(sed -n 's/^ *\([Ff][Aa][Ii][Ll]\|[Uu][Nn][Kk][Nn][Oo][Ww][Nn]\)  */\1 /p' "$scratch/report")"
release || fail "cannot unmount what was verified"

if [ "$INSTALLER" = preseed ]; then
	# What Debian's installer would still write into the verified system: its logs, a random seed, guest agents.
	for hook in /usr/lib/finish-install.d/*; do
		case ${hook##*/} in 95umount | 97release-dhcp-lease | 99reboot) ;; *) rm -f -- "$hook" ;; esac
	done
fi
sync
complete=yes
tell "the system is installed and verified"
