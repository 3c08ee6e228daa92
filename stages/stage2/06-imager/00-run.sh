#!/bin/bash -e

# Raspberry Pi Imager's customisation (init_format "systemd"): it puts firstrun.sh
# on the boot partition and names it on the kernel's command line. The script calls
# two programs of Raspberry Pi OS; these are for a Debian with NetworkManager. Where
# the packages that have them are installed, theirs stay.
install_unless_there() { # FILE PATH
	[ -e "${ROOTFS_DIR}/$2" ] || install -D -m 755 "$1" "${ROOTFS_DIR}/$2"
}
install_unless_there files/imager_custom usr/lib/raspberrypi-sys-mods/imager_custom
install_unless_there files/userconf usr/lib/userconf-pi/userconf

install -D -m 755 files/imager-firstrun "${ROOTFS_DIR}/usr/local/sbin/imager-firstrun"
install -D -m 644 files/imager.conf \
	"${ROOTFS_DIR}/etc/systemd/system/kernel-command-line.service.d/imager.conf"
