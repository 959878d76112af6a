# Rehearses the shutdown and judges what it leaves: the disks of this machine with a layer of memory over each, in which the
# activation runs as it will at the shutdown, and which then is verified. The machine itself is not touched.
if [ "${1:-}" != inside ]; then
	unshare --mount --pid --fork sh "$0" inside
	result=$?
	rmdir /run/strongroom-rehearsal 2>/dev/null
	exit "$result"
fi

base=/run/strongroom-rehearsal
tree=$base/tree
mkdir -p "$base" && mount -t tmpfs -o mode=0700,size=75% strongroom "$base" && mkdir "$tree" || fail 'cannot mount a file system in memory'
mount -t proc proc /proc || fail 'cannot mount /proc'
modprobe overlay 2>/dev/null

number=0
cp /proc/self/mounts "$base/mounts"
while read -r _ point type _; do
	# Spaces and their kin are written in octal.
	point=$(printf '%b' "$(printf %s "$point" | sed 's/\\\([0-7]\{3\}\)/\\0\1/g')")
	case $type in
	ext2 | ext3 | ext4 | xfs | btrfs | f2fs)
		number=$((number + 1))
		mkdir "$base/upper$number" "$base/work$number" &&
			mount -t overlay -o "lowerdir=$point,upperdir=$base/upper$number,workdir=$base/work$number" strongroom "$tree$point" ||
			fail "cannot rehearse on $point ($type)"
		;;
	vfat) mount --bind -o ro "$point" "$tree$point" || fail "cannot rehearse on $point ($type)" ;;
	esac
done <"$base/mounts"
[ -x "$tree/bin/sh" ] || fail 'the root is on a file system that the rehearsal does not know'

mount -t tmpfs -o mode=0755 strongroom "$tree/run" && mount -t tmpfs -o mode=1777 strongroom "$tree/tmp" &&
	mount --rbind /dev "$tree/dev" && mount -t proc proc "$tree/proc" || fail 'cannot make the rehearsed machine complete'
mkdir "$tree/run/strongroom-activation" && cp "$here/activate.sh" "$here/late.tar" "$here/late.list" "$tree/run/strongroom-activation/" || fail 'cannot copy the activation'
chroot "$tree" /bin/sh /run/strongroom-activation/activate.sh rehearsal </dev/null || fail 'the rehearsed shutdown fails; what it said is in the log (PACKER_LOG=1)'
umount "$tree/proc" && umount --recursive --lazy "$tree/dev" && umount "$tree/tmp" && umount --lazy "$tree/run" || fail 'cannot end the rehearsal'

# What the shutdown takes away was on the disk all the same, and its blocks can be read from the image: a secret in it has leaked.
# The control leaked-secrets-absent looks here too.
before=/run/strongroom-before
home=$(awk -F: -v name="$BUILD_USER" '$1 == name { print $6 }' /etc/passwd)
for dir in "$home" /var/lib/cloud /tmp /var/tmp; do
	case $dir in
	/ | /root | '') continue ;; # they stay
	esac
	[ -d "$dir" ] || continue
	mkdir -p "$tree$before$dir" && mount --bind "$dir" "$tree$before$dir" && mount -o remount,bind,ro "$tree$before$dir" || fail "cannot show $dir to the verification"
done

/usr/bin/hostcheck verify --stage image --root "$tree" --format json >"$here/report.json" 2>"$here/verify.err"
say "verified=$?"
sed 's/^/strongroom: hostcheck=/' "$here/verify.err"
