#!/bin/bash -e

# Nobody logs in as root with a password; the first user has sudo.
# What some bootstraps bring and nothing here needs goes away: there is no
# installer, and NetworkManager has the network to itself.
on_chroot << EOF
usermod --password '*' root
DEBIAN_FRONTEND=noninteractive apt-get purge -y tasksel tasksel-data ifupdown dhcpcd-base
EOF

# Keep the journal from filling a small card.
install -D -m 644 files/journald.conf "${ROOTFS_DIR}/etc/systemd/journald.conf.d/10-size.conf"
