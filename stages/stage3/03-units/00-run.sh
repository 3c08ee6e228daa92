#!/bin/bash -e
# inputs: files ../../../westwork/dist/systemd

# Services read /data/conf by drop-ins, and run on a configured box only, as parts of
# westwork.target; the access point runs on one that is not.
units="${ROOTFS_DIR}/etc/systemd/system"
service="../../../westwork/dist/systemd/service.conf"

found=("${ROOTFS_DIR}"/usr/lib/systemd/system/php*-fpm.service)
[ -f "${found[0]}" ] || { echo "php-fpm has no unit" >&2; exit 1; }
fpm=${found[0]##*/}

dropin() { # UNIT FILE NAME
	install -D -m 644 "$2" "${units}/$1.d/$3.conf"
}
for name in nginx postfix dovecot slapd; do
	dropin "${name}.service" "${service}" westwork
	dropin "${name}.service" "files/${name}.conf" westwork-conf
done
dropin "${fpm}" "${service}" westwork
dropin "${fpm}" files/php-fpm.conf westwork-conf
ln -sfn "/usr/lib/systemd/system/${fpm}" "${units}/php-fpm.service"
for name in roundcube-gc roundcube-cleandb; do
	dropin "${name}.service" files/roundcube.conf westwork
done
for name in hostapd dnsmasq nftables NetworkManager; do
	dropin "${name}.service" "files/${name}.conf" westwork
done
install -m 644 files/westwork-ap.service files/westwork-firewall.service "${ROOTFS_DIR}/usr/lib/systemd/system/"
install -D -m 644 files/tmpfiles.conf "${ROOTFS_DIR}/usr/lib/tmpfiles.d/westwork.conf"
for name in roundcube-database access-point-device; do
	install -D -m 755 "files/${name}" "${ROOTFS_DIR}/usr/lib/westwork/${name}"
done

# certbot is run by westwork-certificate, with its own directories.
on_chroot << EOF
systemctl disable --quiet nginx postfix dovecot dovecot.socket slapd ${fpm} hostapd dnsmasq certbot.timer
systemctl mask --quiet certbot.timer
systemctl enable --quiet nftables westwork-setup westwork-start westwork-reset westwork-ap
systemctl add-wants --quiet westwork.target nginx.service postfix.service dovecot.service slapd.service ${fpm} westwork-firewall.service
systemctl add-wants --quiet westwork-ap.service hostapd.service dnsmasq.service
EOF
