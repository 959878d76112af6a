# Makes the disk of a plain Debian machine, as root of a mount namespace that nobody else sees; of a user namespace too, where
# an ordinary user asks. It needs no loop device: mke2fs fills the root file system in place, mtools the EFI system partition.
#
# $1 the tar of the tree, $2 a tar with further files, $3 the disk, which does not exist, $4 UUID of the root file system,
# $5 serial number of the EFI system partition.
set -eu

tree=$(mktemp -d)
mount -t tmpfs -o mode=0755,size=4G strongroom "$tree"
tar --extract --directory="$tree" --numeric-owner --preserve-permissions --file="$1"
tar --extract --directory="$tree" --numeric-owner --preserve-permissions --no-overwrite-dir --file="$2"
: >"$tree/etc/machine-id" # the first boot makes one

# GRUB, by the name that firmware starts without a boot entry. It reads the configuration of the root, where update-grub
# writes it. update-grub itself wants to see the root's device, and a directory has none; the first one is by hand.
cat >"$tree/tmp/early.cfg" <<EOF
search --no-floppy --fs-uuid --set=root $4
set prefix=(\$root)/boot/grub
configfile \$prefix/grub.cfg
EOF
chroot "$tree" grub-mkimage --format=x86_64-efi --output=/tmp/grub.efi --prefix=/boot/grub --config=/tmp/early.cfg \
	part_gpt fat ext2 search search_fs_uuid configfile normal linux gzio echo test all_video
mkdir -p "$tree/boot/grub" "$tree/boot/efi"
cp -a "$tree/usr/lib/grub/x86_64-efi" "$tree/boot/grub/"
cat >"$tree/boot/grub/grub.cfg" <<EOF
linux /vmlinuz root=UUID=$4 ro console=ttyS0
initrd /initrd.img
boot
EOF

# 1 MiB, EFI system partition of 127 MiB, root of 6 GiB, 1 MiB for the backup table. Numbers in sectors of 512 bytes.
truncate --size=$((6144 + 129))M "$3"
sfdisk --quiet --no-reread --no-tell-kernel "$3" <<EOF
label: gpt
start=2048, size=260096, type=U
start=262144, size=12582912, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709
EOF
mkfs.vfat -F 32 -s 1 -n EFI -i "$5" --offset 2048 "$3" $((127 * 1024)) >/dev/null
export MTOOLS_SKIP_CHECK=1
mmd -i "$3@@1M" ::/EFI ::/EFI/BOOT
mcopy -i "$3@@1M" "$tree/tmp/grub.efi" ::/EFI/BOOT/BOOTX64.EFI
rm "$tree/tmp/early.cfg" "$tree/tmp/grub.efi"
# GRUB of bookworm knows neither of the two features, which newer versions of mke2fs switch on.
mke2fs -q -t ext4 -O ^metadata_csum_seed,^orphan_file -U "$4" -L root -d "$tree" -E offset=$((128 << 20)) "$3" 6144M
