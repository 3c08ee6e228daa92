#!/bin/bash -e

# Settings first, kernel second: the package's hook /etc/kernel/postinst.d/z50-raspi-firmware
# then runs just once here, and finds the same settings at every kernel upgrade on the device.
boot="${ROOTFS_DIR}/boot/firmware"

# Debian's hook writes cmdline.txt and config.txt from these files.
settings_of_debian() {
	# One console only, the one that goes to the pins of the header. A serial
	# console on ttyAMA0 would talk into the Bluetooth chip of a Pi 3 or newer.
	local serial=ttyS1 # Pi 3, Zero 2, Pi 4
	if [ "${ARCH}" = armhf ]; then
		serial=ttyAMA0 # Pi 2
	fi
	# ROOTDEV becomes the partition's PARTUUID at export. CMA=0 leaves the pool to
	# the device tree: the package's default of 64M keeps a Pi 4 from booting, and
	# in a chroot it cannot see which board it will run on.
	cat >> "${ROOTFS_DIR}/etc/default/raspi-firmware" <<- EOF

		# Set when the image was built.
		ROOTPART=ROOTDEV
		CMA=0
		CONSOLES="tty0 ${serial},115200"
	EOF
	settings="${ROOTFS_DIR}/etc/default/raspi-firmware-custom"
	install -m 644 files/raspi-firmware-custom "${settings}"
}

# Raspberry Pi's copies kernels and leaves these to the image.
settings_of_raspios() {
	install -d -m 755 "${boot}"
	install -m 644 files/raspios/config.txt files/raspios/cmdline.txt "${boot}/"
	settings="${boot}/config.txt"
	# Bookworm's firmware has no such overlay.
	if [ "${RELEASE}" = bookworm ]; then
		sed -i '/^\[pi5\]$/,/^dtoverlay=nospi10$/d' "${settings}"
	fi
}

"settings_of_${DISTRO}"
# The firmware's own choice is 64-bit mode for a Pi 4 or newer, 32-bit mode for all before.
case "${DISTRO} ${ARCH}" in
"debian armhf")
	printf '\n# Boards that start in 64-bit mode by default cannot run this kernel in it.\narm_64bit=0\n' \
		>> "${settings}"
	;;
"raspios arm64")
	printf '\n# A Pi 3 or Zero 2, too, has a 64-bit kernel only.\narm_64bit=1\n' >> "${settings}"
	;;
esac

install -m 644 files/initramfs "${ROOTFS_DIR}/etc/initramfs-tools/conf.d/image"

# What the root file system is made as is decided at export, so every initramfs
# can start each kind.
printf '%s\n' overlay squashfs erofs >> "${ROOTFS_DIR}/etc/initramfs-tools/modules"
install -D -m 755 files/overlay-root "${ROOTFS_DIR}/etc/initramfs-tools/scripts/local-bottom/overlay-root"

# Outside of a chroot the hook insists on a mounted /boot/firmware.
on_chroot << EOF
ischroot || { echo "the build root must be a chroot for raspi-firmware to fill /boot/firmware" >&2; exit 1; }
EOF
install_packages files/packages

for file in config.txt cmdline.txt bootcode.bin start.elf start4.elf; do
	[ -s "${boot}/${file}" ] || { echo "/boot/firmware/${file} is missing" >&2; exit 1; }
done
# The names of Debian, and those of Raspberry Pi OS.
for names in 'vmlinuz-* kernel*.img' 'initrd.img-* initramfs*'; do
	found=
	read -r -a patterns <<< "${names}"
	for name in "${patterns[@]}"; do
		found+=$(compgen -G "${boot}/${name}" || true)
	done
	[ -n "${found}" ] || { echo "/boot/firmware has none of ${names}" >&2; exit 1; }
done
grep -qw root=ROOTDEV "${boot}/cmdline.txt"
