#!/bin/bash -e
# Installs the files of this stage.

install -m 644 files/example.conf "${ROOTFS_DIR}/etc/example.conf"
echo "${GREETING}" > "${ROOTFS_DIR}/etc/motd"
