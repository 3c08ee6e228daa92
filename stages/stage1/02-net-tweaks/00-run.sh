#!/bin/bash -e

install -m 644 /dev/null "${ROOTFS_DIR}/etc/hostname"
echo "${TARGET_HOSTNAME}" > "${ROOTFS_DIR}/etc/hostname"

install -m 644 files/hosts "${ROOTFS_DIR}/etc/hosts"
printf '\n127.0.1.1\t%s\n' "${TARGET_HOSTNAME}" >> "${ROOTFS_DIR}/etc/hosts"
