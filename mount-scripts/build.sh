# SPDX-License-Identifier: MIT
#
# build - sourced by quickstart and test: brings what is missing, and builds.
#
# Sets top (the source tree) and build (the build directory, $MODELFS_BUILD or
# build/ in the source tree).  Installs Debian packages only when something is
# missing, and then only as root.

top=$(cd "$(dirname "$0")/.." && pwd) || exit 1
build=${MODELFS_BUILD:-$top/build}

libraries="fuse3 libprotobuf-c libzip zlib liblzma openblas jansson"
packages="gcc libc6-dev make autoconf automake pkg-config fuse3 libfuse3-dev
	protobuf-c-compiler libprotobuf-c-dev libzip-dev zlib1g-dev
	libbz2-dev liblzma-dev libopenblas-dev libjansson-dev"

say() {
	printf '\n==> %s\n' "$*"
}

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

has_all() {
	for tool in gcc make autoreconf automake pkg-config protoc-c \
		fusermount3; do
		command -v "$tool" >/dev/null 2>&1 || return 1
	done
	# shellcheck disable=SC2086 # a list
	pkg-config --exists $libraries &&
		echo '#include <bzlib.h>' | gcc -E - >/dev/null 2>&1
}

# install PACKAGE...
install_packages() {
	say "Installing what is missing: $*"
	command -v apt-get >/dev/null 2>&1 ||
		die "no apt-get; please install the equivalents of: $*"
	[ "$(id -u)" -eq 0 ] ||
		die "please run as root, or: apt-get install $*"
	DEBIAN_FRONTEND=noninteractive
	export DEBIAN_FRONTEND
	apt-get update -qq || die "apt-get update failed"
	apt-get install -y -qq --no-install-recommends "$@" >/dev/null ||
		die "apt-get install failed"
}

build_modelfs() {
	if ! has_all; then
		# shellcheck disable=SC2086 # a list
		install_packages $packages
	fi
	say "Building in $build"
	mkdir -p "$build" || exit 1
	log=$build/build.log
	if ! (
		set -e
		[ -x "$top/configure" ] || (cd "$top" && autoreconf -fi)
		cd "$build"
		[ -f config.status ] || "$top/configure"
		make -j"$(nproc 2>/dev/null || echo 2)"
	) >"$log" 2>&1; then
		tail -n 30 "$log" >&2
		die "the build failed; all of it is in $log"
	fi
	"$build/modelfs" --version || die "the program does not start"
}
