#!/bin/bash -e

# Wi-Fi. The law of the country decides the channels, so without one the radio
# stays off; "nmcli radio wifi on" switches it on.
regdom="${ROOTFS_DIR}/etc/modprobe.d/cfg80211.conf"
state="${ROOTFS_DIR}/var/lib/NetworkManager/NetworkManager.state"
rm -f "${regdom}" "${state}"
if [ -n "${WPA_COUNTRY:-}" ]; then
	install -m 644 /dev/null "${regdom}"
	echo "options cfg80211 ieee80211_regdom=${WPA_COUNTRY}" > "${regdom}"
else
	install -D -m 644 files/NetworkManager.state "${state}"
fi

# SSH. Every device makes its own host keys. The unit that comes with the
# package asks for a "first boot", which an image with an empty machine-id is
# not; ask for missing keys instead. The packages of bookworm have no such unit:
# they make the keys when they are installed.
rm -f "${ROOTFS_DIR}"/etc/ssh/ssh_host_*_key*
units="${ROOTFS_DIR}/etc/systemd/system"
if [ ! -e "${ROOTFS_DIR}/usr/lib/systemd/system/sshd-keygen.service" ]; then
	install -D -m 644 files/sshd-keygen.service "${units}/sshd-keygen.service"
	install -d -m 755 "${units}/ssh.service.wants"
	ln -sfn ../sshd-keygen.service "${units}/ssh.service.wants/sshd-keygen.service"
fi
install -D -m 644 files/sshd-keygen.conf "${units}/sshd-keygen.service.d/missing-keys.conf"

keys_only="${ROOTFS_DIR}/etc/ssh/sshd_config.d/10-keys-only.conf"
rm -f "${keys_only}"
if [ "${PUBKEY_ONLY_SSH:-0}" = 1 ]; then
	install -D -m 644 files/keys-only.conf "${keys_only}"
fi

if [ "${ENABLE_SSH:-0}" = 1 ]; then
	action=enable
else
	action=disable
fi
on_chroot << EOF
systemctl ${action} ssh.service
EOF
