#!/bin/bash -e

# Sources for the build. At export the mirror's address is replaced by
# IMAGE_MIRROR. A proxy is given to apt from outside and never written here.
SOURCES="${ROOTFS_DIR}/etc/apt/sources.list.d"
KEYRINGS=/usr/share/keyrings

stanza() { # URI SUITES COMPONENTS KEYRING
	printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: %s\nSigned-By: %s/%s\n' \
		"$1" "$2" "$3" "${KEYRINGS}" "$4"
	# Raspbian has the one architecture, whatever the system asks for.
	if [ "$4" = raspbian-archive-keyring.gpg ]; then
		echo 'Architectures: armhf'
	fi
}

give_key() { # FILE KEYRING
	install -D -m 644 "$1" "${ROOTFS_DIR}${KEYRINGS}/$2"
}

# The base system's archive is Debian's, unless the build has a key of Raspbian.
base=debian keyring=debian-archive-keyring.gpg
if [ -n "${RASPBIAN_KEYRING:-}" ]; then
	base=raspbian keyring=raspbian-archive-keyring.gpg
	give_key "${RASPBIAN_KEYRING}" "${keyring}"
fi

# Which suites there are besides the release itself. Unstable has none; a mirror
# that carries fewer needs EXTRA_SUITES set in the config.
case "${RELEASE}" in
sid | unstable) extra= ;;
*) extra="${EXTRA_SUITES-updates security}" ;;
esac

suites="${RELEASE}"
security=
for suite in ${extra}; do
	if [ "${suite}" != security ]; then
		suites+=" ${RELEASE}-${suite}"
	elif [ -n "${SECURITY_MIRROR:-}" ]; then
		security="${SECURITY_MIRROR}"
	else
		log "SECURITY_MIRROR is empty: no security updates in this image"
	fi
done

rm -f "${ROOTFS_DIR}/etc/apt/sources.list"
install -d -m 755 "${SOURCES}"
install -m 644 /dev/null "${SOURCES}/${base}.sources"
{
	stanza "${MIRROR}" "${suites}" "${COMPONENTS}" "${keyring}"
	if [ -n "${security}" ]; then
		echo
		stanza "${security}" "${RELEASE}-security" "${COMPONENTS}" "${keyring}"
	fi
} > "${SOURCES}/${base}.sources"

# Raspberry Pi OS has its kernels, firmware and tools from an archive of its own.
if [ -n "${RASPBERRYPI_MIRROR:-}" ]; then
	keyring=raspberrypi-archive-keyring.pgp
	give_key "${RASPBERRYPI_KEYRING}" "${keyring}"
	install -m 644 /dev/null "${SOURCES}/raspi.sources"
	stanza "${RASPBERRYPI_MIRROR}" "${RELEASE}" main "${keyring}" > "${SOURCES}/raspi.sources"
fi

# A repository for this build only; the export removes the file.
if [ -n "${TEMP_REPO:-}" ]; then
	install -m 644 /dev/null "${SOURCES}/00-temp.list"
	echo "${TEMP_REPO//RELEASE/${RELEASE}}" > "${SOURCES}/00-temp.list"
fi

# A 32-bit Raspberry Pi OS has the 64-bit kernel beside its own.
foreign=
if [ "${base}" = raspbian ]; then
	foreign=arm64
fi
on_chroot << EOF
export DEBIAN_FRONTEND=noninteractive
if [ -n "${foreign}" ]; then
	dpkg --add-architecture "${foreign}"
fi
apt-get update --error-on=any
apt-get dist-upgrade -y
EOF
install_packages files/packages
