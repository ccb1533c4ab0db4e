/* SPDX-License-Identifier: MIT */
/* gzip - files that are compressed as a whole: gzip (RFC 1952), zlib (1950). */
#ifndef WIRE_GZIP_H
#define WIRE_GZIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct source;

/* What such a file may become, in memory. */
#define GZIP_BYTES_MAX ((uint64_t)1 << 30)

/* True when these bytes begin one. */
bool gzip_is_head(const uint8_t *p, size_t len);

/*
 * Inflates all of a file into memory.  EIO when it is damaged or cut off,
 * EFBIG beyond max bytes.
 */
int gzip_load(struct source *src, uint64_t max, struct source **out,
	      struct err *e);

#endif
