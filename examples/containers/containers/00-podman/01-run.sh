#!/bin/bash -e
# Makes the root file system of a container from Debian's packages, as an archive that podman imports.

bootstrap --variant=minbase --include=busybox "${RELEASE}" "${STAGE_WORK_DIR}/app" "${MIRROR}"
rm -rf "${STAGE_WORK_DIR}"/app/var/cache/apt/* "${STAGE_WORK_DIR}"/app/var/lib/apt/lists/*
install -d -m 755 "${ROOTFS_DIR}/usr/share/containers-preloaded"
tar -C "${STAGE_WORK_DIR}/app" --sort=name --mtime=@0 --numeric-owner -c . |
	zstd -q -19 -f -o "${ROOTFS_DIR}/usr/share/containers-preloaded/app.tar.zst"
rm -rf "${STAGE_WORK_DIR}/app"
install -m 755 files/load-containers "${ROOTFS_DIR}/usr/local/sbin/load-containers"
install -m 644 files/load-containers.service "${ROOTFS_DIR}/etc/systemd/system/load-containers.service"
install -d -m 755 "${ROOTFS_DIR}/etc/containers/systemd"
install -m 644 files/app.container "${ROOTFS_DIR}/etc/containers/systemd/app.container"
on_chroot << 'EOC'
systemctl enable load-containers
EOC
