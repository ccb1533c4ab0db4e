#!/bin/sh
# SPDX-License-Identifier: MIT
#
# corpus - compares every parameter of the real files in $MODELFS_CORPUS with
# what the reference libraries read (compare.py); skipped where it is unset.

if [ -z "$MODELFS_CORPUS" ]; then
	echo "skip - corpus.sh: MODELFS_CORPUS is not set"
	exit 77
fi
python=${PYTHON:-/usr/bin/python3}
if ! "$python" -c 'import numpy' 2>/dev/null; then
	echo "skip - corpus.sh: no $python with numpy"
	exit 77
fi
# Every name, blanks included, as one argument.
find "$MODELFS_CORPUS" -type f \( -name '*.onnx' -o -name '*.safetensors' \
	-o -name '*.pt' -o -name '*.pth' -o -name '*.bin' \
	-o -name '*.state_dict' -o -name '*.tar' -o -name '*.jit' \
	-o -name '*.pt2' -o -name '*.npy' -o -name '*.npz' -o -name '*.pkl' \
	-o -name '*.msgpack' -o -name '*.bin.index.json' \
	-o -name '*.h5' -o -name '*.hdf5' -o -name '*.keras' \
	-o -name '*.index' -o -name '*.tflite' -o -name '*.pb' \
	-o -name '*.caffemodel' -o -name '*.weights' \
	-o -name '*.mlmodel' \) ! -path '*/onnx-node/*' -print0 |
	xargs -0 "$python" "${srcdir:-.}/tests/golden/compare.py" \
		./tests/golden/dump
