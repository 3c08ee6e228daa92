#!/bin/bash -e

bootstrap "${RELEASE}" "${ROOTFS_DIR}" "${MIRROR}"
