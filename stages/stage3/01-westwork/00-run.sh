#!/bin/bash -e
# inputs: ../../../westwork ../../../Cargo.lock

# The program on the device: WESTWORK_BIN from the config, or compiled here.
if [ -n "${WESTWORK_BIN:-}" ]; then
	echo "${WESTWORK_BIN_SUM}  ${WESTWORK_BIN}" | sha256sum --check --quiet
	install -m 755 "${WESTWORK_BIN}" "${ROOTFS_DIR}/usr/bin/westwork"
else
	cross_build westwork "${ROOTFS_DIR}/usr/bin/westwork"
fi
on_chroot << 'EOF'
westwork --version
EOF

for unit in ../../../westwork/dist/systemd/westwork*; do
	install -m 644 "${unit}" "${ROOTFS_DIR}/usr/lib/systemd/system/"
done
