#!/bin/bash -e
# inputs: 00-packages-nr

# Keys that packages made when they were installed would be the same on every device.
# Each makes its own at set-up; these are used by nothing.
rm -f "${ROOTFS_DIR}"/etc/ssl/private/ssl-cert-snakeoil.key "${ROOTFS_DIR}"/etc/ssl/certs/ssl-cert-snakeoil.pem
find "${ROOTFS_DIR}/etc/ssl/certs" -xtype l -delete
sed -i "s/^\(\$config\['des_key'\] = \).*/\1'';/" "${ROOTFS_DIR}/etc/roundcube/config.inc.php"
