#!/bin/sh
# SPDX-License-Identifier: MIT
#
# python - runs an end-to-end test, or says why it cannot be run (status 77).

py=/usr/bin/python3
if ! [ -x $py ] || ! $py -c 'import numpy' 2>/dev/null; then
	echo "skip - tests/${1##*/tests/}: all of it (no python3-numpy)"
	exit 77
fi
# A test that hangs is a failure, not a night lost.
exec timeout -k 10 600 $py -B "$@"
