#!/bin/bash -e
# Installs the program that reads, and sets up the node's broker.

install -m 755 files/sensor "${ROOTFS_DIR}/usr/local/bin/sensor"
install -m 644 files/sensor.service "${ROOTFS_DIR}/etc/systemd/system/sensor.service"
echo "SENSOR_SECONDS=${SENSOR_SECONDS}" > "${ROOTFS_DIR}/etc/default/sensor"
install -m 644 files/node.conf "${ROOTFS_DIR}/etc/mosquitto/conf.d/node.conf"
# The package's own file keeps the queue on the root, which forgets it.
sed -i '/^persistence/d' "${ROOTFS_DIR}/etc/mosquitto/mosquitto.conf"
install -d -m 755 "${ROOTFS_DIR}/etc/systemd/system/mosquitto.service.d"
install -m 644 files/on-data.conf "${ROOTFS_DIR}/etc/systemd/system/mosquitto.service.d/on-data.conf"
if [ -n "${MQTT_HOST:-}" ]; then
	bridge="${ROOTFS_DIR}/etc/mosquitto/conf.d/upstream.conf"
	install -m 600 /dev/null "${bridge}"
	{
		echo "connection upstream"
		# shellcheck disable=SC2153 # it has a default
		echo "address ${MQTT_HOST}:${MQTT_PORT}"
		echo "topic sensors/# out 1"
		[ -z "${MQTT_USER:-}" ] || echo "remote_username ${MQTT_USER}"
		[ -z "${MQTT_PASSWORD:-}" ] || echo "remote_password ${MQTT_PASSWORD}"
	} > "${bridge}"
	on_chroot chown mosquitto: /etc/mosquitto/conf.d/upstream.conf
fi
on_chroot << 'EOC'
install -d -o mosquitto -g mosquitto -m 750 /data/mosquitto
systemctl enable mosquitto sensor
EOC
