#!/bin/bash -e

# The package saves the time of its installation; the build's date is the same
# in every build.
date -u -d "@${SOURCE_DATE_EPOCH:-$(date +%s)}" '+%Y-%m-%d %H:%M:%S' > "${ROOTFS_DIR}/etc/fake-hwclock.data"
