#!/bin/sh
# SPDX-License-Identifier: MIT
#
# manuals - the pages say what the program can: every format and every option
# is described, and troff has nothing to complain about.

top=${srcdir:-.}
modelfs=${MODELFS:-./modelfs}
bad=0

complain() {
	echo "not ok - tests/manuals.sh: $*"
	bad=1
}

list=$("$modelfs" --formats) || complain "--formats fails"
for name in $(echo "$list" | awk '{ print $1 }'); do
	grep -q "^\.Ss .*\b$name\b" "$top/man/modelfs-formats.5" ||
		complain "modelfs-formats(5) lacks $name"
done
for option in $("$modelfs" --help | grep -o -e '--[a-z]*' | sort -u); do
	grep -q "Fl -${option#--}\b" "$top/man/modelfs.1" ||
		complain "modelfs(1) lacks $option"
done
if command -v groff >/dev/null 2>&1; then
	for page in "$top"/man/*.[15]; do
		out=$(groff -mandoc -ww -z -Tutf8 "$page" 2>&1)
		[ -z "$out" ] || complain "$page: $out"
	done
fi
[ $bad -eq 0 ] || exit 1
echo "ok - tests/manuals.sh: all formats and options are described"
