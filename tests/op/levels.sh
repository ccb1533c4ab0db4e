#!/bin/sh
# SPDX-License-Identifier: MIT
#
# levels - the conformance suite once more, as other processors compute it.

rc=0
for level in portable avx2; do
	if MODELFS_CPU=$level ./tests/op/conformance >levels.out 2>&1; then
		echo "ok - tests/op/levels.sh: $level"
	elif [ $? -eq 77 ]; then
		echo "skip - tests/op/levels.sh: $level (no vectors)"
	else
		grep -v '^ok' levels.out | sed 's/^/# /'
		echo "not ok - tests/op/levels.sh: $level"
		rc=1
	fi
done
rm -f levels.out
exit $rc
