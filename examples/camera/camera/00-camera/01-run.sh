#!/bin/bash -e
# Installs the program that takes pictures, and the rule that starts it when a camera is there.

install -m 755 files/take-pictures "${ROOTFS_DIR}/usr/local/bin/take-pictures"
install -m 644 files/camera.service "${ROOTFS_DIR}/etc/systemd/system/camera.service"
install -m 644 files/99-camera.rules "${ROOTFS_DIR}/etc/udev/rules.d/99-camera.rules"
printf 'CAMERA_SECONDS=%s\nCAMERA_SIZE=%s\n' "${CAMERA_SECONDS}" "${CAMERA_SIZE}" > "${ROOTFS_DIR}/etc/default/camera"
on_chroot << 'EOC'
useradd --system --user-group --home-dir /data/pictures --shell /usr/sbin/nologin --groups video camera
install -d -o camera -g camera -m 755 /data/pictures
EOC
