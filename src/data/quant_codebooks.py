#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
quant_codebooks - makes quant_codebooks.c from the published numbers.

    quant_codebooks.py CODEBOOKS.txt > quant_codebooks.c

The text holds, for every codebook, a line
    @NAME rows=N width=W levels=V0,V1,...
and N lines of W digits; digit k stands for level Vk, and the first digit is
the row's first component.  A row becomes one number whose lowest byte is the
first component, so that eight components are loaded at once.
"""
import sys

HEAD = """/* SPDX-License-Identifier: MIT */
/* Made by quant_codebooks.py: the rows of GGML's IQ types. */
#include "data/quant.h"
"""


def read(path):
    books = []
    for line in open(path):
        line = line.strip()
        if line.startswith("@"):
            name, *fields = line[1:].split()
            book = dict(f.split("=") for f in fields)
            levels = [int(v) for v in book["levels"].split(",")]
            books.append((name, int(book["rows"]), int(book["width"]),
                          levels, []))
        elif line and not line.startswith("#"):
            books[-1][4].append(line)
    return books


def row_number(row, width, levels):
    assert len(row) == width, row
    v = 0
    for i, digit in enumerate(row):
        v |= (levels[int(digit, 16)] & 255) << (8 * i)
    return "0x%0*x" % (2 * width, v)


def main():
    print(HEAD, end="")
    for name, nrows, width, levels, rows in read(sys.argv[1]):
        assert len(rows) == nrows, name
        print("\nconst uint%d_t quant_%s[%d] = {" % (8 * width, name, nrows))
        numbers = [row_number(r, width, levels) for r in rows]
        per_line = 3 if width == 8 else 5
        for i in range(0, nrows, per_line):
            print("\t" + ", ".join(numbers[i:i + per_line]) + ",")
        print("};")


main()
