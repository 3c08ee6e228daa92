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
# not; ask for missing keys instead.
rm -f "${ROOTFS_DIR}"/etc/ssh/ssh_host_*_key*
install -D -m 644 files/sshd-keygen.conf \
	"${ROOTFS_DIR}/etc/systemd/system/sshd-keygen.service.d/missing-keys.conf"

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
