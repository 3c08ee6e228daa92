#!/bin/bash -e
# Makes the network's settings, and the service that gives each device a password of its own.

connections="${ROOTFS_DIR}/etc/NetworkManager/system-connections"
install -d -m 700 "${connections}"
install -m 600 files/hotspot.nmconnection "${connections}/hotspot.nmconnection"
sed -i "s/@NAME@/${HOTSPOT_NAME}/; s/@CHANNEL@/${HOTSPOT_CHANNEL}/" "${connections}/hotspot.nmconnection"
install -m 755 files/hotspot-password "${ROOTFS_DIR}/usr/local/sbin/hotspot-password"
install -m 644 files/hotspot-password.service "${ROOTFS_DIR}/etc/systemd/system/hotspot-password.service"
on_chroot << 'EOC'
systemctl enable hotspot-password
EOC
if [ -n "${HOTSPOT_PASSWORD:-}" ]; then
	install -m 600 /dev/null "${ROOTFS_DIR}/etc/hotspot-password"
	echo "${HOTSPOT_PASSWORD}" > "${ROOTFS_DIR}/etc/hotspot-password"
fi
