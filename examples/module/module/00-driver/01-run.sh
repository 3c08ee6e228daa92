#!/bin/bash -e
# Puts the module's sources where DKMS looks, and has it loaded when the system starts.

install -d -m 755 "${ROOTFS_DIR}/usr/src/greeting-1.0"
install -m 644 files/src/* "${ROOTFS_DIR}/usr/src/greeting-1.0/"
echo greeting > "${ROOTFS_DIR}/etc/modules-load.d/greeting.conf"
