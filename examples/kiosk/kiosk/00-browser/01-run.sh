#!/bin/bash -e
# Installs the page and the service that shows it, for a user of its own.

install -d -m 755 "${ROOTFS_DIR}/usr/share/kiosk"
install -m 644 files/index.html "${ROOTFS_DIR}/usr/share/kiosk/index.html"
install -m 644 files/kiosk.service "${ROOTFS_DIR}/etc/systemd/system/kiosk.service"
echo "KIOSK_URL=${KIOSK_URL}" > "${ROOTFS_DIR}/etc/default/kiosk"
on_chroot << 'EOC'
useradd --system --user-group --home-dir /run/kiosk --shell /usr/sbin/nologin --groups video,render,input kiosk
systemctl enable seatd kiosk
systemctl set-default graphical.target
EOC
