#!/bin/bash -e
# inputs: prerun.sh

if [ ! -d "${ROOTFS_DIR}" ]; then
	copy_previous
fi
