#!/bin/bash -e
# Installs the page and the service that shows it, for a user of its own.

install -d -m 755 "${ROOTFS_DIR}/usr/share/kiosk"
install -m 644 files/index.html "${ROOTFS_DIR}/usr/share/kiosk/index.html"
install -m 644 files/kiosk.service "${ROOTFS_DIR}/etc/systemd/system/kiosk.service"
echo "KIOSK_URL=${KIOSK_URL}" > "${ROOTFS_DIR}/etc/default/kiosk"
on_chroot << 'EOC'
adduser --system --group --home /var/lib/kiosk --shell /usr/sbin/nologin kiosk
for group in video render input; do
	adduser kiosk "${group}"
done
systemctl enable seatd kiosk
systemctl set-default graphical.target
EOC
