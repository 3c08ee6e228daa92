#!/bin/bash -e

install_packages files/packages
# What raspi-copies-and-fills preloads is not for an emulator: the export gives the file its name
# again.
preload="${ROOTFS_DIR}/etc/ld.so.preload"
if [ -e "${preload}" ]; then
	mv "${preload}" "${preload}.disabled"
fi
# rpi-swap makes the generator's settings itself.
if [ ! -e "${ROOTFS_DIR}/var/lib/dpkg/info/rpi-swap.list" ]; then
	install -m 644 files/zram-generator.conf "${ROOTFS_DIR}/etc/systemd/zram-generator.conf"
fi
install -m 644 files/60-header-pins.rules "${ROOTFS_DIR}/etc/udev/rules.d/60-header-pins.rules"
install -m 644 files/i2c-dev.conf "${ROOTFS_DIR}/etc/modules-load.d/i2c-dev.conf"

# The first user may use the hardware without sudo.
on_chroot << 'EOF'
groups="adm dialout cdrom sudo audio video plugdev games users input render netdev spi i2c gpio"
for group in ${groups}; do
	groupadd --force --system "${group}"
done
usermod --append --groups "${groups// /,}" "${FIRST_USER_NAME}"
EOF
