/* SPDX-License-Identifier: MIT */
/*
 * reader - buffered sequential reading of a range of a source, for headers
 * whose length is known only when they have been read.  Sticky like a cursor:
 * the first failure is kept and later reads yield zeros.
 */
#ifndef MODELFS_READER_H
#define MODELFS_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "modelfs/err.h"

struct source;

#define READER_BUFFER 65536

struct reader {
	struct source *src; /* borrowed */
	uint64_t off;	    /* of the next byte to be read */
	uint64_t end;	    /* first offset that is not readable */
	uint64_t buf_off;
	size_t buf_len;
	bool bad;
	struct err err; /* why, when bad */
	uint8_t buf[READER_BUFFER];
};

/* Large: keep it on the heap.  NULL when out of memory. */
struct reader *reader_new(struct source *src, uint64_t off, uint64_t len);
void reader_free(struct reader *r);

uint64_t reader_left(const struct reader *r);
uint8_t reader_u8(struct reader *r);
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);
uint64_t reader_varint(struct reader *r);
/* Copies len bytes; zeros when they are not there. */
void reader_bytes(struct reader *r, void *out, size_t len);
void reader_skip(struct reader *r, uint64_t len);
/* As cursor_fits, against what is left of the range. */
bool reader_fits(const struct reader *r, uint64_t count, size_t min_size);
/* Marks the reader bad with this text, unless it is bad already. */
void reader_fail(struct reader *r, int code, const char *what);

#endif
