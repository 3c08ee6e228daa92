#!/bin/bash -e

# Sources for the build. At export the mirror's address is replaced by
# IMAGE_MIRROR. A proxy is given to apt from outside and never written here.
SOURCES="${ROOTFS_DIR}/etc/apt/sources.list.d"
COMPONENTS="main non-free-firmware"
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

stanza() { # URI SUITES
	printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: %s\nSigned-By: %s\n' \
		"$1" "$2" "${COMPONENTS}" "${KEYRING}"
}

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
install -m 644 /dev/null "${SOURCES}/debian.sources"
{
	stanza "${MIRROR}" "${suites}"
	if [ -n "${security}" ]; then
		echo
		stanza "${security}" "${RELEASE}-security"
	fi
} > "${SOURCES}/debian.sources"

# A repository for this build only; the export removes the file.
if [ -n "${TEMP_REPO:-}" ]; then
	install -m 644 /dev/null "${SOURCES}/00-temp.list"
	echo "${TEMP_REPO//RELEASE/${RELEASE}}" > "${SOURCES}/00-temp.list"
fi

on_chroot << EOF
export DEBIAN_FRONTEND=noninteractive
apt-get update --error-on=any
apt-get dist-upgrade -y
EOF
