#!/bin/bash -e

# BOOTDEV and ROOTDEV become PARTUUIDs at export. The boot loader's own files
# were written with the kernel, in stage 0.
install -m 644 files/fstab "${ROOTFS_DIR}/etc/fstab"
install -d -m 755 "${ROOTFS_DIR}/boot/firmware"
