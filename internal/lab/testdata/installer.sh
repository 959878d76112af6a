# Makes kernel and initrd of Debian's installer from its package, with a preseed in it.
#
# $1 the archive's address, $2 the suite, $3 the package of the installer, $4 the archive's keys, $5 a cache, $6 the directory for linux and initrd.img, $7 the preseed
#
# The installer fetches parts of itself from the archive. A mirror that has not kept up lacks those that the package's release needs, and the installer stops for want of them. Then the
# modules of the kernel, and the tools for ext4, come out of the ordinary packages into the initrd, where the installer takes them for installed.
set -euo pipefail
archive=$1 suite=$2 package=$3 keys=$4 cache=$5 out=$6 preseed=$7
work=$(mktemp -d "$out/work.XXXXXX")
trap 'rm -rf "$work"' EXIT

# apt with a world of its own: it checks the archive's signatures.
mkdir -p "$work/apt/lists/partial" "$work/apt/archives/partial" "$cache/debs"
: >"$work/apt/status"
echo "deb [arch=amd64 signed-by=$keys] $archive/debian $suite main" >"$work/apt/sources.list"
apt=(-o Dir::State="$work/apt" -o Dir::State::lists="$work/apt/lists" -o Dir::State::status="$work/apt/status" -o Dir::Cache="$work/apt"
	-o Dir::Etc::sourcelist="$work/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferencesparts=/dev/null -o APT::Architecture=amd64 -o APT::Sandbox::User=root -qq)
apt-get "${apt[@]}" update
# deb PACKAGE: its file.
deb() {
	local name
	name=$(apt-get "${apt[@]}" download --print-uris "$1" | awk '{ print $2 }')
	[[ -n $name ]] || { echo "the archive has no package $1" >&2; return 1; }
	if [[ ! -e $cache/debs/$name ]]; then (cd "$cache/debs" && apt-get "${apt[@]}" download "$1" >&2); fi
	echo "$cache/debs/$name"
}

dpkg-deb -x "$(deb "$package")" "$work/installer"
images=$(echo "$work"/installer/usr/lib/debian-installer/images/*/amd64/text/debian-installer/amd64)
cp "$images/linux" "$out/linux"
mkdir "$work/base" "$work/more"
(cd "$work/base" && zcat "$images/initrd.gz" | cpio --quiet -idm --no-absolute-filenames 2>/dev/null) || : # its device nodes, for all but root
kernel=$(ls "$work/base/usr/lib/modules")
cp "$preseed" "$work/more/preseed.cfg"

# Which parts does the archive list, and not have?
curl -fsS "$archive/debian/dists/$suite/main/debian-installer/binary-amd64/Packages.xz" | xz -d >"$work/udebs"
awk -v kernel="$kernel" '$1 == "Package:" { name = $2; wanted = name !~ /-di$/ || index(name, kernel) } $1 == "Filename:" && wanted { print name, $2 }' "$work/udebs" >"$work/wanted"
# shellcheck disable=SC2016 # for the other shell
missing=$(xargs -P 8 -L 1 bash -c 'curl -fsSI -o /dev/null "$0/debian/$2" 2>/dev/null || echo "$1"' "$archive" <"$work/wanted" | sort)
missing=$(for name in $missing; do grep -qx "Package: $name" "$work/base/var/lib/dpkg/status" || echo "$name"; done)
if [[ -n $missing ]]; then
	echo "the archive lacks $(wc -w <<<"$missing") parts of the installer, such as $(head -n 1 <<<"$missing"): modules and tools come from the ordinary packages"
	modules=$work/more/usr/lib/modules/$kernel
	mkdir -p "$modules" "$work/tree/lib/modules" "$work/more/usr/sbin" "$work/more/usr/lib/x86_64-linux-gnu" "$work/more/etc" "$work/more/var/lib/dpkg"
	dpkg-deb -x "$(deb "linux-image-$kernel")" "$work/linux"
	ln -s "$work/linux/usr/lib/modules/$kernel" "$work/tree/lib/modules/$kernel"
	depmod -b "$work/tree" "$kernel"
	for module in ext4 virtio_blk virtio_pci virtio_scsi efivarfs vfat nls_cp437 nls_iso8859-1 nls_utf8 nls_ascii loop dm-mod dm-crypt md-mod sd_mod sr_mod ahci; do
		modprobe -d "$work/tree" -S "$kernel" --show-depends "$module" | sed -n "s|^insmod .*/lib/modules/$kernel/\([^ ]*\).*|\1|p"
	done | sort -u >"$work/modules"
	(cd "$work/linux/usr/lib/modules/$kernel" && cpio --quiet -pdm "$modules" <"$work/modules" 2>/dev/null)
	rm "$work/tree/lib/modules/$kernel"
	cp -a "$work/base/usr/lib/modules/$kernel" "$work/tree/lib/modules/"
	cp -a "$modules/." "$work/linux/usr/lib/modules/$kernel"/modules.{builtin,builtin.modinfo,order} "$work/tree/lib/modules/$kernel/"
	depmod -b "$work/tree" "$kernel"
	cp "$work/tree/lib/modules/$kernel"/modules.* "$modules/"

	for name in e2fsprogs libext2fs2t64 libss2 libcom-err2; do dpkg-deb -x "$(deb "$name")" "$work/ext4"; done
	for tool in mke2fs e2fsck tune2fs resize2fs badblocks; do cp "$work/ext4/usr/sbin/$tool" "$work/more/usr/sbin/"; done
	for type in ext2 ext3 ext4; do
		ln -s mke2fs "$work/more/usr/sbin/mkfs.$type"
		ln -s e2fsck "$work/more/usr/sbin/fsck.$type"
	done
	cp "$work/ext4/etc/mke2fs.conf" "$work/more/etc/"
	cp -a "$work/ext4"/usr/lib/x86_64-linux-gnu/lib*.so.* "$work/more/usr/lib/x86_64-linux-gnu/"

	cp "$work/base/var/lib/dpkg/status" "$work/more/var/lib/dpkg/status"
	for name in $missing; do
		awk -v name="$name" '
			$1 == "Package:" { found = $2 == name }
			found && $1 == "Package:" { print; print "Status: install ok installed" }
			found && /^(Version|Architecture|Provides):/
			found && NF == 0 { exit }' "$work/udebs"
		printf 'Description: in the initrd\n\n'
	done >>"$work/more/var/lib/dpkg/status"
fi

# The kernel unpacks one archive after the other; one that is not compressed begins at a multiple of four.
cp "$images/initrd.gz" "$out/initrd.img"
truncate -s %512 "$out/initrd.img"
(cd "$work/more" && find . | sort | cpio --quiet -o -H newc -R 0:0) >>"$out/initrd.img"
