#!/bin/bash -e

# Settings first, kernel second: the hook /etc/kernel/postinst.d/z50-raspi-firmware,
# which writes cmdline.txt and config.txt from these files, then runs just once
# here, and finds the same settings at every kernel upgrade on the device.

# One console only, the one that goes to the pins of the header. A serial
# console on ttyAMA0 would talk into the Bluetooth chip of a Pi 3 or newer.
case "${ARCH}" in
arm64) KERNEL=linux-image-arm64 SERIAL=ttyS1 ;;   # Pi 3, Zero 2, Pi 4
armhf) KERNEL=linux-image-armmp SERIAL=ttyAMA0 ;; # Pi 2
*)
	echo "no Raspberry Pi kernel for ARCH=${ARCH}" >&2
	exit 1
	;;
esac

# ROOTDEV becomes the partition's PARTUUID at export. CMA=0 leaves the pool to
# the device tree: the package's default of 64M keeps a Pi 4 from booting, and
# in a chroot it cannot see which board it will run on.
cat >> "${ROOTFS_DIR}/etc/default/raspi-firmware" << EOF

# Set when the image was built.
ROOTPART=ROOTDEV
CMA=0
CONSOLES="tty0 ${SERIAL},115200"
EOF
install -m 644 files/raspi-firmware-custom "${ROOTFS_DIR}/etc/default/raspi-firmware-custom"
if [ "${ARCH}" = armhf ]; then
	printf '\n# Boards that start in 64-bit mode by default cannot run this kernel in it.\narm_64bit=0\n' \
		>> "${ROOTFS_DIR}/etc/default/raspi-firmware-custom"
fi

install -m 644 files/initramfs "${ROOTFS_DIR}/etc/initramfs-tools/conf.d/image"

# What the root file system is made as is decided at export, so every initramfs
# can start each kind.
printf '%s\n' overlay squashfs erofs >> "${ROOTFS_DIR}/etc/initramfs-tools/modules"
install -D -m 755 files/overlay-root "${ROOTFS_DIR}/etc/initramfs-tools/scripts/local-bottom/overlay-root"

# Outside of a chroot the hook insists on a mounted /boot/firmware.
on_chroot << EOF
ischroot || { echo "the build root must be a chroot for raspi-firmware to fill /boot/firmware" >&2; exit 1; }
export DEBIAN_FRONTEND=noninteractive
apt-get install -y --no-install-recommends ${KERNEL}
EOF

for file in config.txt cmdline.txt bootcode.bin start.elf start4.elf; do
	[ -s "${ROOTFS_DIR}/boot/firmware/${file}" ] || { echo "/boot/firmware/${file} is missing" >&2; exit 1; }
done
for file in vmlinuz initrd.img; do
	compgen -G "${ROOTFS_DIR}/boot/firmware/${file}-*" > /dev/null || { echo "no ${file} in /boot/firmware" >&2; exit 1; }
done
grep -qw root=ROOTDEV "${ROOTFS_DIR}/boot/firmware/cmdline.txt"
