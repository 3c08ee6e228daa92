# Functions that host scripts of a stage may call. Sourced before the script, and exported.

log() {
	printf '[%(%T)T] %s\n' -1 "$*"
}

# bootstrap [OPTION…] SUITE DIR MIRROR: debootstrap's words. In a tree of pi-gen's,
# BOOTSTRAP_OPTIONS has what pi-gen's function adds to them.
bootstrap() {
	local options
	read -r -a options <<<"${BOOTSTRAP_OPTIONS-}"
	"$WESTWORK_GEN" internal bootstrap "${options[@]}" "$@"
}

# cross_build PACKAGE OUT: compiles a package of the tree's cargo workspace for the target.
cross_build() {
	"$WESTWORK_GEN" internal cross-build "$@"
}

# python_env REQUIREMENTS ROOTFS PATH: a Python environment at PATH of the target, from wheels.
python_env() {
	"$WESTWORK_GEN" internal python-env "$@"
}

# The previous stage's root file system is already there: stages share their layers.
copy_previous() {
	if [ ! -d "$ROOTFS_DIR" ]; then
		echo "copy_previous: no stage before this one has made a root file system" >&2
		return 1
	fi
}

# Arguments are bash's; without any, the script is read from standard input.
on_chroot() {
	# A failure is told at the line of the script that called.
	local frame=1
	while [ "${BASH_SOURCE[frame]-}" = environment ]; do
		frame=$((frame + 1))
	done
	if [ "$#" -eq 0 ]; then
		WESTWORK_GEN_AT="${BASH_SOURCE[frame]-}:${BASH_LINENO[frame - 1]-}" \
			"$WESTWORK_GEN" internal chroot --script - "$ROOTFS_DIR"
	else
		"$WESTWORK_GEN" internal chroot "$ROOTFS_DIR" -- bash -e "$@"
	fi
}

# install_packages FILE: installs, without recommended ones, the packages that FILE has for
# DISTRO and ARCH. Its lines are DISTRO ARCH PACKAGE…, with * for any. Of `a|b` the first is
# taken that the image's archives have; `a|-` may be missing.
install_packages() {
	local distro arch packages wanted=
	while read -r distro arch packages; do
		if [[ $distro == "$DISTRO" || $distro == '*' ]] && [[ $arch == "$ARCH" || $arch == '*' ]]; then
			wanted+=" $packages"
		fi
	done <"$1"
	[ -n "$wanted" ] || return 0
	WANTED="$wanted" on_chroot <<'CHROOT'
# A locked build knows the names of packages that it does not have.
is_there() {
	local shown
	shown=$(apt-cache show --no-all-versions "$1" 2> /dev/null) || return
	[[ $shown == Package:* && $shown != *not-in-westwork-lock* ]]
}
names=()
read -r -a words <<< "${WANTED}"
for word in "${words[@]}"; do
	IFS='|' read -r -a choices <<< "${word}"
	if [ "${#choices[@]}" -eq 1 ]; then
		names+=("${word}")
		continue
	fi
	found=
	for name in "${choices[@]}"; do
		if [ "${name}" = - ]; then
			echo "the archives have no ${word%|-}"
			found=none
		elif is_there "${name}"; then
			names+=("${name}")
			found=${name}
			break
		fi
	done
	[ -n "${found}" ] || { echo "the archives have none of ${word}" >&2; exit 1; }
done
if [ "${#names[@]}" -gt 0 ]; then
	apt-get install --yes --no-install-recommends "${names[@]}"
fi
CHROOT
}

# update_issue NAME: the words of pi-gen's /etc/rpi-issue.
update_issue() {
	printf '%s %s\nGenerated using %s, %s, %s%s\n' "${PI_GEN_RELEASE:-$IMG_NAME}" "$IMG_DATE" \
		"$PI_GEN" "$PI_GEN_REPO" "${GIT_HASH:+$GIT_HASH, }" "$1" >"$ROOTFS_DIR/etc/rpi-issue"
}

# Nothing to do without loop devices and with mounts that end with the step.
unmount() {
	:
}
unmount_image() {
	:
}
ensure_next_loopdev() {
	:
}
ensure_loopdev_partitions() {
	:
}

# losetup, kpartx: the kernel keeps loop devices from whoever is not root of the machine.
losetup() {
	echo "losetup: a build has no loop devices; the exporter makes the image's partitions" >&2
	return 1
}
kpartx() {
	echo "kpartx: a build has no loop devices; the exporter makes the image's partitions" >&2
	return 1
}

# A step of the export tree finds an empty image file, and nothing that it does with it counts:
# the exporter makes the image of the root file system afterwards.
if [ -n "${EXPORT_DIR:-}" ]; then
	mkdir -p "$DEPLOY_DIR"
	: >"$STAGE_WORK_DIR/$IMG_FILENAME${IMG_SUFFIX:-}.img"

	# on_image PROGRAM ARG…: calls it, unless it is for the image or, but for archivers, not for a
	# file in the root file system.
	on_image() {
		local name=$1
		shift
		case "$name:$*" in
		*"$IMG_FILENAME"*) ;;
		zip:?* | pigz:?* | *"$ROOTFS_DIR"/*)
			command "$name" "$@"
			return
			;;
		esac
		echo "$name: not called, the image is the exporter's" >&2
	}
	for name in bmaptool e2fsck fdisk kpartx losetup mkdosfs mkfs mkfs.ext4 mkfs.fat mkfs.vfat parted \
		partprobe pigz resize2fs sfdisk tune2fs zerofree zip; do
		eval "$name() { on_image $name \"\$@\"; }; export -f $name"
	done
	unset name
	export -f on_image
fi

export -f losetup kpartx
export -f log bootstrap cross_build python_env copy_previous on_chroot install_packages update_issue
export -f unmount unmount_image ensure_next_loopdev ensure_loopdev_partitions
