#!/bin/sh
# SPDX-License-Identifier: MIT
#
# programs - torch's operators, written as torch.export writes them, computed by
# modelfs and by torch (export.py); skipped without torch.

python=${PYTHON:-/usr/bin/python3}
if ! "$python" -c 'import numpy, torch' 2>/dev/null; then
	echo "skip - programs.sh: no $python with torch"
	exit 77
fi
"$python" -B "${srcdir:-.}/tests/golden/export.py" ./modelfs 2>/dev/null
