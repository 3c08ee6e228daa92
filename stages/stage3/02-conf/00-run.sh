#!/bin/bash -e
# inputs: files

# Everything that is the owner's is below /data: what is configured, in /data/conf, and
# what the services keep. The packages' own files in /etc stay as they are, so that
# upgrades have nothing to ask; services are pointed here by 03-units.
on_chroot << 'EOF'
getent passwd vmail > /dev/null ||
	adduser --quiet --system --group --home /data/mail --no-create-home vmail
install -d -m 755 /data /data/conf /data/acme
install -d -m 700 -o openldap -g openldap /data/ldap
install -d -m 770 -o vmail -g vmail /data/mail
install -d -m 750 -o www-data -g www-data /data/roundcube
EOF

place() { # MODE GROUP FILE…
	local file
	for file in "${@:3}"; do
		install -D -m "$1" "files/${file}" "${ROOTFS_DIR}/data/conf/${file}"
		on_chroot -c "chgrp $2 '/data/conf/${file}'"
	done
}
place 644 root nginx/nginx.conf.mustache nginx/html/index.html.mustache \
	postfix/main.cf.mustache postfix/master.cf \
	hostapd/hostapd.conf dnsmasq/dnsmasq.conf nftables/setup.conf nftables/nftables.conf.mustache \
	slapd/environment
# These have passwords in them once they are rendered.
place 600 root dovecot/dovecot.conf.mustache
place 640 openldap slapd/slapd.conf.mustache
place 640 postfix postfix/people.cf.mustache
place 640 www-data roundcube/config.inc.php.mustache
install -d -m 755 "${ROOTFS_DIR}/data/conf/letsencrypt" "${ROOTFS_DIR}/data/conf/westwork"

# Roundcube reads these beside its config.inc.php; they are the package's.
for name in defaults.inc.php mimetypes.php; do
	ln -sfn "/etc/roundcube/${name}" "${ROOTFS_DIR}/data/conf/roundcube/${name}"
done

# The web mail's plugin of ours, where Debian's are.
plugins="${ROOTFS_DIR}/usr/share/roundcube/plugins"
install -D -m 644 files/roundcube-plugin/westwork_address.php "${plugins}/westwork_address/westwork_address.php"
ln -sfn /usr/share/roundcube/plugins/westwork_address "${ROOTFS_DIR}/var/lib/roundcube/plugins/westwork_address"

# What sends mail on the device itself finds its way to the queue.
install -m 644 files/etc-main.cf "${ROOTFS_DIR}/etc/postfix/main.cf"
install -m 644 files/etc-default-postfix "${ROOTFS_DIR}/etc/default/postfix"
