# Runs commands of an installer's file as the installer does. $1 a directory with the file command and the pipe console, which gets a copy of what the commands told the
# installer, $2 the disk, $3 its name below /dev/disk/by-id, $4 the installer, $5 the tree that it has made, if any, and $6 where it has mounted that. Everything is written to a
# layer over the root that goes with the namespace, or into the tree.
set -eu
layer=$1/layer
mkdir "$layer"
mount -t tmpfs strongroom "$layer"
mkdir "$layer/upper" "$layer/work" "$layer/root"
mount -t overlay -o "lowerdir=/,upperdir=$layer/upper,workdir=$layer/work" strongroom "$layer/root"
root=$layer/root
mkdir -p "$root/sys" "$root/proc" "$root/dev" "$root/tmp" "$root/set"
mount --rbind /sys "$root/sys"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=0755 strongroom "$root/dev"
mount -t tmpfs -o mode=1777 strongroom "$root/tmp"
cp -a /dev/null /dev/zero "$root/dev/"
if [ -n "$2" ]; then
	cp -a "$2" "$root/dev/"
	mkdir -p "$root/dev/disk/by-id"
	ln -s "$2" "$root$3"
fi
if [ -n "$5" ]; then
	mkdir -p "$root$6"
	mount --bind "$5" "$root$6"
fi
: >"$root/dev/console"
mount --bind "$1/console" "$root/dev/console"

path=/usr/sbin:/usr/bin:/sbin:/bin
shell=sh
case $4 in
preseed)
	# Debian's installer has nothing but busybox, and debconf in a form of its own.
	mkdir "$root/di"
	cp -L "$(command -v busybox)" "$root/di/busybox"
	chroot "$root" /di/busybox --install -s /di
	rm -f "$root/di/logger"
	for name in udevadm logger; do printf '#!/di/sh\nexit 0\n' >"$root/di/$name"; done
	printf '#!/di/sh\necho "$*" >>/set/told\n' >"$root/di/debconf-set"
	chmod 0755 "$root/di/udevadm" "$root/di/logger" "$root/di/debconf-set"
	path=/di
	shell=/di/sh
	;;
autoinstall) printf 'path: STRONGROOM-DISK\n' >"$root/autoinstall.yaml" ;;
esac
: >"$root/set/told"
status=0
chroot "$root" "$shell" -c 'PATH=$1; export PATH; exec "$2" -c "$3"' "$shell" "$path" "$shell" "$(cat "$1/command")" || status=$?
case $4 in autoinstall) if [ "$status" = 0 ]; then cat "$root/autoinstall.yaml" >"$root/set/told"; fi ;; esac
cat "$root/set/told" >"$1/set"
echo "ended $status" >"$root/dev/console"
exit "$status"
