#!/bin/bash -e
# inputs: files

# Chat: Matrix Synapse is not in Debian, so it comes as wheels, locked in files/requirements-ARCH.txt,
# into an environment of its own. Without that file the image has no chat, and the set-up page
# offers none.
requirements="files/requirements-${ARCH}.txt"
if [ ! -f "${requirements}" ]; then
	log "No chat for ${ARCH}: there is no stage3/04-chat/${requirements}"
	exit 0
fi
python_env "${requirements}" "${ROOTFS_DIR}" /opt/matrix-synapse

conf="${ROOTFS_DIR}/data/conf/matrix-synapse"
install -d -m 755 "${ROOTFS_DIR}/data" "${ROOTFS_DIR}/data/conf" "${conf}"
# These have passwords and the signing key in them once they are rendered.
install -m 640 files/homeserver.yaml.mustache files/signing.key.mustache "${conf}/"
install -m 644 files/log.yaml "${conf}/"
install -m 644 files/matrix-synapse.service "${ROOTFS_DIR}/usr/lib/systemd/system/"

on_chroot << 'EOT'
getent passwd matrix-synapse > /dev/null ||
	adduser --quiet --system --group --home /data/chat --no-create-home matrix-synapse
install -d -m 750 -o matrix-synapse -g matrix-synapse /data/chat
chgrp matrix-synapse /data/conf/matrix-synapse/*.mustache
systemctl enable --quiet matrix-synapse
EOT
