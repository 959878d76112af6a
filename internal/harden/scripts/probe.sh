# Looks whether this machine can be hardened. It changes nothing.
if [ "$(id -u)" != 0 ]; then
	problem "the script runs as $(id -un) and not as root: let execute_command run it with sudo"
fi
sed 's/^/strongroom: os-release=/' /etc/os-release 2>/dev/null || problem 'it has no /etc/os-release'
say "architecture=$(uname -m)"
if [ "$(cat /proc/1/comm 2>/dev/null)" != systemd ] || [ ! -d /run/systemd/system ]; then
	problem 'systemd does not run it (process 1 is another program)'
fi
if [ -e /run/ostree-booted ]; then
	problem 'its root is an ostree, where packages and files of /usr cannot be changed'
fi
for tool in awk chroot cmp find grep mktemp mount sed sha256sum systemctl systemd-sysusers tar unshare xargs; do
	command -v "$tool" >/dev/null || problem "it lacks the program $tool"
done
if ! grep -qw overlay /proc/filesystems && ! modprobe --dry-run overlay 2>/dev/null; then
	problem 'its kernel has no overlayfs, on which the shutdown is rehearsed'
fi
for dir in / /etc /usr /var; do
	if awk -v dir="$dir" '$2 == dir { options = $4 } END { exit options ~ /(^|,)ro(,|$)/ ? 0 : 1 }' /proc/self/mounts; then
		problem "$dir is mounted read-only"
	fi
done
# room DIR KIB WHAT
room() {
	free=$(df -Pk -- "$1" 2>/dev/null | awk 'NR == 2 { print $4 }')
	if [ "${free:-0}" -lt "$2" ]; then
		problem "$1 has $((${free:-0} / 1024)) MiB free, and $3 needs $(($2 / 1024)) MiB"
	fi
}
room "$here" "$NEED_KIB" 'the upload'
room /usr "$NEED_KIB" 'what is installed'
room /var 262144 'what packages unpack'
if [ "$(systemctl is-system-running 2>/dev/null)" = stopping ]; then
	problem 'it is being shut down'
fi
say probed=yes
