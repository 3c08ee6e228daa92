#!/bin/bash -e
# Installs the program, its settings and its unit.

install -m 755 files/greeter "${ROOTFS_DIR}/usr/local/bin/greeter"
install -m 644 files/greeter.service "${ROOTFS_DIR}/etc/systemd/system/greeter.service"
echo "GREETER_PORT=${GREETER_PORT}" > "${ROOTFS_DIR}/etc/default/greeter"
on_chroot << 'EOC'
systemctl enable greeter
EOC
