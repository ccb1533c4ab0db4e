/* SPDX-License-Identifier: MIT */
/* snappy - decompressing one block (google/snappy, format_description.txt). */
#ifndef WIRE_SNAPPY_H
#define WIRE_SNAPPY_H

#include <stddef.h>
#include <stdint.h>

struct err;

/*
 * out is malloc'd, and never larger than the input can make it.  EIO when the
 * block is damaged, EFBIG when it would be larger than max.
 */
int snappy_inflate(const uint8_t *data, size_t len, uint64_t max, uint8_t **out,
		   size_t *out_len, struct err *e);

#endif
