#!/bin/bash -e

install -D -m 755 files/grow-root "${ROOTFS_DIR}/usr/local/sbin/grow-root"
install -m 644 files/grow-root.service "${ROOTFS_DIR}/etc/systemd/system/grow-root.service"
on_chroot << EOF
systemctl enable grow-root.service
EOF
