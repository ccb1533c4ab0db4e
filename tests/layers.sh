#!/bin/sh
# SPDX-License-Identifier: MIT
#
# layers - who may include whom, and which file may include which library.
#
# The rules are those of src/README.md.  A file may include headers of its own
# folder and of the folders named here; a header of include/modelfs counts
# for the folder whose contract it is.  Every forbidden include is printed.
#
# usage: layers.sh [TOP]     TOP is the directory that holds src/

top=${1:-${srcdir:-.}}
bad=0
seen=0

complain() {
	echo "not ok - $1: $2"
	bad=$((bad + 1))
}

# What a folder of src/ may include, besides itself.
allowed() {
	case $1 in
	base) echo ;;
	data) echo base ;;
	wire) echo data base ;;
	model) echo data base ;;
	format) echo tensorfile wire model data base ;;
	view) echo data base ;;
	kernel) echo ;;
	op) echo kernel model data base ;;
	run) echo op kernel model data base ;;
	vfs) echo format tensorfile run view model data base ;;
	fuse) echo vfs data base ;;
	cli) echo vfs format model data base ;;
	sandbox) echo base ;;
	main) echo cli sandbox fuse vfs run format op model data base ;;
	esac
}

# The folder whose contract a header of include/modelfs is.
folder_of() {
	case $1 in
	arena | array | cursor | err | log | map | text | utf8) echo base ;;
	blob | dtype | inflate | npy | reader | source | tensor) echo data ;;
	quant) echo data ;;
	graph | model | names) echo model ;;
	format) echo format ;;
	onnx_tensor) echo tensorfile ;; # of format/, for uploads
	view) echo view ;;
	kernel) echo kernel ;;
	op) echo op ;;
	run) echo run ;;
	vfs) echo vfs ;;
	fuse) echo fuse ;;
	*) echo "unknown-header-$1" ;;
	esac
}

# The files a library may be included from.
door() {
	case $1 in
	fuse*.h | fuse3/*) echo 'src/fuse/*' ;;
	zip.h) echo 'src/wire/zip*' ;;
	zlib.h) echo 'src/data/blob_inflate.c src/data/inflate.c src/wire/unpack_zlib.c src/wire/hdf5_filter.c' ;;
	bzlib.h) echo src/wire/unpack_bzip2.c ;;
	lzma.h) echo src/wire/unpack_lzma.c ;;
	jansson.h) echo 'src/wire/json*' ;;
	linux/seccomp.h) echo 'src/sandbox/*' ;;
	protobuf-c/*) echo 'src/wire/* src/format/*' ;;
	cblas.h | openblas*) echo 'src/kernel/blas.*' ;;
	*) echo any ;;
	esac
}

check_layer() { # file folder target header
	for ok in "$2" $(allowed "$2"); do
		[ "$ok" = "$3" ] && return
	done
	complain "$1" "$2/ must not include \"$4\" ($3/)"
}

check_door() { # file header
	doors=$(door "$2")
	[ "$doors" = any ] && return
	set -f
	for pattern in $doors; do
		# shellcheck disable=SC2254 # a pattern is what it is
		case $1 in
		$pattern) set +f; return ;;
		esac
	done
	set +f
	complain "$1" "must not include <$2> (only: $doors)"
}

check_include() { # file folder header
	case $3 in
	modelfs/*)
		name=${3#modelfs/}
		check_layer "$1" "$2" "$(folder_of "${name%.h}")" "$3"
		;;
	*.pb-c.h | config.h) ;;
	*/*) check_layer "$1" "$2" "${3%%/*}" "$3" ;;
	*) complain "$1" "\"$3\": say the folder" ;;
	esac
}

cd "$top" || exit 2
for file in $(find src -name '*.c' -o -name '*.h' | sort); do
	seen=$((seen + 1))
	folder=${file#src/}
	case $folder in
	*/*) folder=${folder%%/*} ;;
	*) folder=main ;;
	esac
	for header in $(sed -n 's/^#[ 	]*include[ 	]*"\(.*\)".*/\1/p' \
		"$file"); do
		check_include "$file" "$folder" "$header"
	done
	for header in $(sed -n 's/^#[ 	]*include[ 	]*<\(.*\)>.*/\1/p' \
		"$file"); do
		check_door "$file" "$header"
	done
done

if [ "$seen" -eq 0 ]; then
	echo "not ok - layers.sh: no source found in $top/src"
	exit 1
fi
[ "$bad" -eq 0 ] || exit 1
echo "ok - layers.sh: $seen files keep to the rules"
