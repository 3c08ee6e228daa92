#!/usr/bin/env bash
# Builds the image in a container: `vi config; ./build-docker.sh` leaves it in deploy/.
#
#   ./build-docker.sh [OPTION…]     the options of `westwork-gen build`
#
#   DOCKER=podman         the engine (default: docker, else podman)
#   CONTAINER_NAME=NAME   container, and volume with layers and packages (default: pigen_work)
#   CONTINUE=1            go on after a failed or interrupted build
#   PRESERVE_CONTAINER=1  keep the container after a good build, too
#   BUILDER=IMAGE         a ready builder, such as a release's, instead of compiling one
#   DOCKER_OPTS=OPTIONS   more options for the engine's `run`
#
# Must run under bash 3.2, which is what macOS has.
set -eu

home=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
tree=$(pwd -P)
name=${CONTAINER_NAME:-pigen_work}
image=${BUILDER:-westwork-gen}

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

# The options of `build` that say where settings come from, as `internal mounts` takes them, and
# the files among them.
read_options() {
	config_files=()
	setting_options=()
	local previous='' option
	for option in "$@"; do
		case "$previous$option" in
		-c?* | --config=?*)
			option=${option#--config=}
			config_files+=("${option#-c}")
			option=
			;;
		--config?*) config_files+=("$option") && option= ;;
		--set=?*) setting_options+=(--set "${option#--set=}") ;;
		--set?*) setting_options+=(--set "$option") && option= ;;
		--cache-from=?*) setting_options+=(--set "CACHE_FROM=${option#*=}") ;;
		--cache-to=?*) setting_options+=(--set "CACHE_TO=${option#*=}") ;;
		--cache-from?*) setting_options+=(--set "CACHE_FROM=$option") && option= ;;
		--cache-to?*) setting_options+=(--set "CACHE_TO=$option") && option= ;;
		esac
		case "$option" in
		-c | --config | --set | --cache-from | --cache-to) previous=$option ;;
		*) previous= ;;
		esac
	done
}

# What of the settings is about this machine is said by the program, which is in the container.
# It finds this shell's environment, apart from what a container has of its own.
ask() {
	local word
	variables=(-e DEPLOY_MOUNT=/)
	while read -r word; do
		case "$word" in
		PATH | PWD | OLDPWD | SHLVL | TERM | TMPDIR | USER | LOGNAME | SHELL | HOSTNAME | LANG | ENV | _) ;;
		BASH* | LC_* | LD_* | DOCKER* | DEPLOY_MOUNT | WORK_DIR | CACHE_DIR) ;;
		*[!A-Z0-9_]*) ;;
		*) variables+=(-e "$word") ;;
		esac
	done < <(compgen -e)
	for word in "${config_files[@]+"${config_files[@]}"}"; do
		setting_options+=(-c "$word")
	done
	rights=()
	answer=$(run_in_container --rm -- mounts "${setting_options[@]+"${setting_options[@]}"}") ||
		die "$DOCKER cannot ask the builder for the mounts"
}

find_mounts() {
	case "$tree" in *[,\"]*) die "$tree: a comma or a quote in a path cannot be mounted; rename it" ;; esac
	mounts=(--mount "type=bind,src=$tree,dst=$tree")
	mounted=
	local file word rest keys=()
	for file in "${config_files[@]+"${config_files[@]}"}"; do
		mount_place "$file" readonly
	done
	ask
	deploy=
	while read -r word rest; do
		case "$word" in
		key) keys+=("$rest") ;;
		read) mount_place "$rest" readonly ;;
		write) mount_place "$rest" ;;
		make | deploy)
			mkdir -p "$rest"
			mount_place "$rest"
			[ "$word" = make ] || deploy=$(cd "$rest" && pwd -P)
			;;
		esac
	done <<<"$answer"
	[ -n "$deploy" ] || die "$DOCKER started something else than the builder; it said: $answer"
	# Keys that the environment sets are stronger than the files.
	variables=(-e WORK_DIR=/westwork/work -e CACHE_DIR=/westwork/cache -e "DEPLOY_MOUNT=$deploy")
	for word in "${keys[@]}"; do
		case "$word" in WORK_DIR | CACHE_DIR) continue ;; esac
		[ -z "${!word+set}" ] || variables+=(-e "$word")
	done
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
[ -n "${BUILDER:-}" ] || "${engine[@]}" build -q -t "$image" "$home" >/dev/null || die "the builder could not be made from $home/Dockerfile"
find_mounts
find_rights
status=0
build "$@" || status=$?
if [ "$status" -eq 0 ]; then
	[ "${PRESERVE_CONTAINER:-0}" = 1 ] || "${engine[@]}" rm "$name" >/dev/null
else
	say "logs are in $deploy; once mended: CONTINUE=1 $0${*:+ $*}"
fi
exit "$status"
