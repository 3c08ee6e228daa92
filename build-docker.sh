#!/usr/bin/env bash
# Builds the image in a container: `vi config; ./build-docker.sh` leaves it in deploy/.
#
#   ./build-docker.sh [OPTION…]     the options of `westwork-gen build`
#
#   DOCKER=podman         the engine (default: docker, else podman)
#   CONTAINER_NAME=NAME   container, and volume with layers and packages (default: pigen_work)
#   CONTINUE=1            go on after a failed or interrupted build
#   PRESERVE_CONTAINER=1  keep the container after a good build, too
#   DOCKER_OPTS=OPTIONS   more options for the engine's `run`
#
# Must run under bash 3.2, which is what macOS has.
set -eu

home=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
tree=$(pwd -P)
name=${CONTAINER_NAME:-pigen_work}
image=westwork-gen

say() {
	echo "build-docker: $*" >&2
}

die() {
	say "$@"
	exit 2
}

# ── The machine and its engine ───────────────────────────────────────────────

judge_machine() {
	case "$(uname -s)" in
	Linux) ;;
	Darwin) say "macOS: the build runs in the Linux machine of Docker Desktop or of 'podman machine'" ;;
	*) die "this is not Linux ($(uname -s)); on Windows, run it in WSL 2: wsl --install -d Debian" ;;
	esac
}

find_engine() {
	if [ -z "${DOCKER:-}" ]; then
		for DOCKER in docker podman none; do
			! command -v "$DOCKER" >/dev/null || break
		done
	fi
	# "sudo docker" is two words.
	read -r -a engine <<<"$DOCKER"
	if [ "$DOCKER" = none ] || ! command -v "${engine[0]}" >/dev/null; then
		[ "$DOCKER" != none ] || DOCKER="docker or podman"
		if [ "$(uname -s)" = Darwin ]; then
			die "no $DOCKER here; install Docker Desktop or Podman Desktop and start it"
		fi
		die "no $DOCKER here; install it, such as with: sudo apt install podman"
	fi
	case "$("${engine[@]}" --version 2>/dev/null)" in
	*odman*) kind=podman ;;
	*) kind=docker ;;
	esac
	local answer
	if ! answer=$("${engine[@]}" info 2>&1); then
		case "$answer" in
		*"ermission denied"*)
			die "no permission to use $DOCKER; sudo usermod -aG docker $(id -un) and log in again, or use DOCKER=podman, or DOCKER='sudo docker'"
			;;
		*"annot connect"*) die "$DOCKER is not running; sudo systemctl start docker, or start its desktop program" ;;
		*subuid* | *subgid* | *newuidmap* | *newgidmap*)
			die "$DOCKER lacks ids for $(id -un); sudo apt install uidmap; sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $(id -un)"
			;;
		*"user namespace"* | *userns* | *clone*) die "$DOCKER cannot make user namespaces: $(tail -n 1 <<<"$answer"); sudo sysctl -w user.max_user_namespaces=10000" ;;
		*) die "$DOCKER does not work: $(tail -n 1 <<<"$answer")" ;;
		esac
	fi
}

judge_container() {
	local running
	running=$("${engine[@]}" container inspect -f '{{.State.Running}}' "$name" 2>/dev/null) || return 0
	if [ "$running" = true ]; then
		die "the container $name is running; wait for it, end it ($DOCKER stop $name), or set another CONTAINER_NAME"
	elif [ "${CONTINUE:-0}" != 1 ]; then
		die "the container $name of an earlier build is there; go on with CONTINUE=1, or remove it: $DOCKER rm $name"
	fi
	"${engine[@]}" rm "$name" >/dev/null
}

# ── What of this machine the build needs ─────────────────────────────────────

# The value that bash files, or TOML files, give key $1; the later file wins.
setting() {
	local key=$1 file found value=
	shift
	for file in "$tree/config.toml" "$tree/config" "$@"; do
		[ -f "$file" ] || continue
		case "$file" in
		*.toml)
			found=$(sed 's/^[[:space:]]*#.*//' "$file" | tr '\n' ' ' |
				sed -nE "s/.*$key *= *(\\[[^]]*\\]|\"[^\"]*\").*/\\1/p" | tr -d '[]",')
			;;
		*)
			# shellcheck disable=SC2016 # these are the inner shell's
			found=$(cd "$tree" && env -i HOME="$HOME" PATH="$PATH" "$key=$value" \
				bash -c '. "$1" >/dev/null 2>&1; printf %s "${!2-}"' bash "$file" "$key") || found=
			;;
		esac
		[ -z "$found" ] || value=$found
	done
	printf %s "$value"
}

# Mounts $1, which must exist, at its own path unless that is in the tree already.
# $2: readonly or nothing.
mount_place() {
	local path=$1 real
	[ -e "$path" ] || return 0
	if [ -d "$path" ]; then
		path=$(cd "$path" && pwd -L)
		real=$(cd "$path" && pwd -P)
	else
		path=$(cd "$(dirname "$path")" && pwd -L)/$(basename "$path")
		real=$(cd "$(dirname "$path")" && pwd -P)/$(basename "$path")
	fi
	for path in "$path" "$real"; do
		case "$path/" in "$tree"/*) continue ;; esac
		case "$mounted" in *"|$path|"*) continue ;; esac
		case "$path" in *[,\"]*) die "$path: a comma or a quote in a path cannot be mounted; rename it" ;; esac
		mounted="$mounted|$path|"
		mounts+=(--mount "type=bind,src=$path,dst=$path${2:+,$2}")
	done
}

# Settings of the files $@ (empty: the tree's alone), the environment and --set.
mount_settings() {
	local key value place
	for key in STAGE_LIST EXPORT_CONFIG_DIR SIGN_WITH CACHE_FROM CACHE_TO DEPLOY_DIR; do
		value=${!key-}
		[ -n "$value" ] || value=$(setting "$key" "$@")
		for place in "${set_options[@]+"${set_options[@]}"}"; do
			[ "${place%%=*}" != "$key" ] || value=${place#*=}
		done
		case "$key" in
		DEPLOY_DIR)
			deploy=${value:-deploy}
			mkdir -p "$deploy"
			deploy=$(cd "$deploy" && pwd -P)
			mount_place "$deploy"
			;;
		CACHE_FROM | CACHE_TO)
			# A folder, unless it is a URL.
			case "$value" in
			'' | *://*) ;;
			*)
				mkdir -p "$value"
				mount_place "$value"
				;;
			esac
			;;
		SIGN_WITH) mount_place "${value#minisign:}" readonly ;;
		*)
			# A list of directories separated by spaces.
			for place in $value; do
				mount_place "$place" readonly
			done
			;;
		esac
	done
}

read_options() {
	config_files=()
	set_options=()
	local previous='' option
	for option in "$@"; do
		case "$previous$option" in
		-c?* | --config=?*)
			option=${option#--config=}
			config_files+=("${option#-c}")
			option=
			;;
		--config?*) config_files+=("$option") && option= ;;
		--set=?*) set_options+=("${option#--set=}") ;;
		--set?*) set_options+=("$option") && option= ;;
		--cache-from=?*) set_options+=("CACHE_FROM=${option#*=}") ;;
		--cache-to=?*) set_options+=("CACHE_TO=${option#*=}") ;;
		--cache-from?*) set_options+=("CACHE_FROM=$option") && option= ;;
		--cache-to?*) set_options+=("CACHE_TO=$option") && option= ;;
		esac
		case "$option" in
		-c | --config | --set | --cache-from | --cache-to) previous=$option ;;
		*) previous= ;;
		esac
	done
}

find_mounts() {
	case "$tree" in *[,\"]*) die "$tree: a comma or a quote in a path cannot be mounted; rename it" ;; esac
	mounts=(--mount "type=bind,src=$tree,dst=$tree")
	mounted=
	mount_settings
	local file
	for file in "${config_files[@]+"${config_files[@]}"}"; do
		mount_place "$file" readonly
		mount_settings "$file"
	done
}

# Keys that the environment sets are stronger than the files; config.example has all of them.
find_variables() {
	local key
	variables=(-e WORK_DIR=/westwork/work -e CACHE_DIR=/westwork/cache -e "DEPLOY_MOUNT=$deploy")
	while read -r key; do
		case "$key" in WORK_DIR | CACHE_DIR) continue ;; esac
		[ -z "${!key+set}" ] || variables+=(-e "$key")
	done < <(sed -nE 's/^#?(export )?([A-Z_]+)=.*/\2/p' "$home/config.example")
}

# ── Running it ───────────────────────────────────────────────────────────────

# Tries what a build needs, with more and more rights, and keeps the first that do.
find_rights() {
	local level status=0 paths words
	rights=()
	if [ "$(cat /sys/fs/selinux/enforce 2>/dev/null)" = 1 ]; then
		say "SELinux is enforcing: the container runs without its label (label=disable), for the build mounts file systems"
		rights+=(--security-opt label=disable)
	fi
	if [ "$kind" = podman ]; then paths=unmask=ALL; else paths=systempaths=unconfined; fi
	for level in none proc filter; do
		case "$level" in
		proc) rights+=(--security-opt "$paths") ;;
		filter) rights+=(--security-opt seccomp=unconfined --security-opt apparmor=unconfined) ;;
		esac
		status=0
		words=$(run_in_container --rm -- probe 2>&1) || status=$?
		case "$status" in
		0) break ;;
		2) die "${words#build-docker: }" ;;
		10 | 11 | 12) ;;
		*) die "$DOCKER cannot start a container: $(tail -n 1 <<<"$words")" ;;
		esac
	done
	case "$status" in
	10 | 11)
		die "containers cannot make user namespaces here ($(tail -n 1 <<<"$words")); allow them: sudo sysctl -w user.max_user_namespaces=10000, on Ubuntu also kernel.apparmor_restrict_unprivileged_userns=0, and leave no-new-privileges out of the engine's settings"
		;;
	12)
		if ! ls /proc/sys/fs/binfmt_misc/qemu-* >/dev/null 2>&1; then
			die "the kernel has no binfmt_misc for containers, and none is set up outside: sudo modprobe binfmt_misc, and before Linux 6.7: sudo apt install qemu-user-static binfmt-support"
		fi
		;;
	esac
	say "$DOCKER, not privileged; $(if [ "${#rights[@]}" -eq 0 ]; then echo "nothing beyond the engine's defaults"; else echo "beyond its defaults: ${rights[*]}"; fi)"
}

# run_in_container ENGINE-OPTION… -- ARGUMENT…
run_in_container() {
	local options=()
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	# shellcheck disable=SC2086 # DOCKER_OPTS are words
	"${engine[@]}" run "${options[@]}" -v "$name:/westwork" --workdir "$tree" \
		"${mounts[@]}" "${variables[@]}" "${rights[@]+"${rights[@]}"}" \
		${PIGEN_DOCKER_OPTS:-} ${DOCKER_OPTS:-} "$image" "$@"
}

# shellcheck disable=SC2317 # the trap calls it
interrupt() {
	interrupted=1
	"${engine[@]}" stop -t 4 "$name" >/dev/null 2>&1 || true
}

build() {
	local status=0
	interrupted=
	trap interrupt INT TERM HUP
	# In the background, so that the trap is run at once; the engine's client would pass a
	# signal on or not, depending on which it is.
	run_in_container --name "$name" -- build "$@" </dev/null &
	wait "$!" || status=$?
	if [ -n "$interrupted" ]; then
		wait "$!" || true
		status=130
	fi
	"${engine[@]}" logs --timestamps "$name" >"$deploy/build-docker.log" 2>&1 || true
	run_in_container --rm -- logs || say "the build logs could not be copied to $deploy"
	return "$status"
}

judge_machine
find_engine
judge_container
read_options "$@"
find_mounts
find_variables
"${engine[@]}" build -q -t "$image" "$home" >/dev/null || die "the builder could not be made from $home/Dockerfile"
find_rights
status=0
build "$@" || status=$?
if [ "$status" -eq 0 ]; then
	[ "${PRESERVE_CONTAINER:-0}" = 1 ] || "${engine[@]}" rm "$name" >/dev/null
else
	say "logs are in $deploy; once mended: CONTINUE=1 $0${*:+ $*}"
fi
exit "$status"
