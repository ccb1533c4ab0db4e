#!/bin/sh
# SPDX-License-Identifier: MIT
#
# made - PyTorch and NumPy write every dtype, form of strides and container
# (make_torch.py), h5py every way to keep links, attributes and chunks
# (make_hdf5.py), and compare.py reads them again; skipped without torch.

python=${PYTHON:-/usr/bin/python3}
if ! "$python" -c 'import numpy, torch' 2>/dev/null; then
	echo "skip - made.sh: no $python with torch"
	exit 77
fi
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT INT TERM
here=${srcdir:-.}/tests/golden
"$python" "$here/make_torch.py" "$dir" 2>/dev/null || exit 1
if "$python" -c 'import h5py' 2>/dev/null; then
	"$python" "$here/make_hdf5.py" "$dir" || exit 1
fi
"$python" "$here/compare.py" ./tests/golden/dump "$dir"/*
