#!/bin/bash -e

# Raspberry Pi OS takes cloud-init's files from the boot partition; Debian's cloud-init does not
# look there.
if [ "${ENABLE_CLOUD_INIT:-0}" != 1 ] || [ "${DISTRO}" != raspios ]; then
	exit 0
fi
install_packages files/packages
for file in meta-data user-data network-config; do
	install -m 644 "files/${file}" "${ROOTFS_DIR}/boot/firmware/${file}"
done
