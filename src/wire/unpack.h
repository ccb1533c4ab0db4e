/* SPDX-License-Identifier: MIT */
/*
 * unpack - files that are compressed as a whole: gzip (RFC 1952), zlib (1950),
 * bzip2, xz and the older .lzma.
 */
#ifndef WIRE_UNPACK_H
#define WIRE_UNPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct source;

/* What such a file may become, in memory. */
#define UNPACK_BYTES_MAX ((uint64_t)1 << 30)

/* True when these bytes begin one. */
bool unpack_is_head(const uint8_t *p, size_t len);

/*
 * Unpacks all of a file into memory; where several streams follow each other,
 * all of them.  EIO when it is damaged or cut off, EFBIG beyond max bytes.
 */
int unpack_load(struct source *src, uint64_t max, struct source **out,
		struct err *e);

#endif
