/* SPDX-License-Identifier: MIT */
/*
 * flatbuf - reading FlatBuffers (flatbuffers.dev, "Internals") from a file
 * that need not fit into memory.
 *
 * Positions are offsets in the file; 0 stands for what is not there.  Every
 * read is checked against the file; the first that does not fit sets `bad`,
 * which stays set, and later reads yield zeros.
 */
#ifndef WIRE_FLATBUF_H
#define WIRE_FLATBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "modelfs/err.h"

struct source;

#define FLATBUF_PAGE 4096
#define FLATBUF_PAGES 64
/*
 * Bytes of strings and numbers that one file may make us copy: so many, and
 * more for a larger file, as what is in it once may be named many times.
 */
#define FLATBUF_COPIED_MIN ((uint64_t)16 << 20)
#define FLATBUF_COPIED_MAX ((uint64_t)256 << 20)
#define FLATBUF_COPIES_MAX 16

struct flatbuf {
	struct source *src; /* borrowed */
	uint64_t size;
	uint64_t copied, copied_max;
	bool bad;
	struct err err;			 /* why, when bad */
	uint64_t page_at[FLATBUF_PAGES]; /* offset + 1; 0: empty */
	uint8_t pages[FLATBUF_PAGES][FLATBUF_PAGE];
};

struct flatbuf_table {
	uint64_t pos; /* 0: not there */
	uint64_t vtable;
	uint16_t vtable_len, table_len;
};

struct flatbuf_vector {
	uint64_t pos; /* of the first element */
	uint32_t n;
};

/* Large: keep it on the heap.  NULL when out of memory. */
struct flatbuf *flatbuf_new(struct source *src);
void flatbuf_free(struct flatbuf *f);

struct flatbuf_table flatbuf_root(struct flatbuf *f);

/* Numbers of a table: the default where the field is absent. */
int64_t flatbuf_int(struct flatbuf *f, const struct flatbuf_table *t,
		    unsigned field, size_t width, int64_t def);
uint64_t flatbuf_uint(struct flatbuf *f, const struct flatbuf_table *t,
		      unsigned field, size_t width, uint64_t def);
float flatbuf_float(struct flatbuf *f, const struct flatbuf_table *t,
		    unsigned field, float def);
struct flatbuf_table flatbuf_sub(struct flatbuf *f,
				 const struct flatbuf_table *t, unsigned field);
/* Elements of elem_size bytes, all within the file. */
struct flatbuf_vector flatbuf_vector(struct flatbuf *f,
				     const struct flatbuf_table *t,
				     unsigned field, size_t elem_size);
/* Element i of a vector of tables; i < n. */
struct flatbuf_table flatbuf_at(struct flatbuf *f,
				const struct flatbuf_vector *v, uint32_t i);
/* Element i of a vector of numbers; i < n. */
int64_t flatbuf_int_at(struct flatbuf *f, const struct flatbuf_vector *v,
		       uint32_t i, size_t width);
/* len bytes at pos, copied. */
void flatbuf_bytes(struct flatbuf *f, uint64_t pos, void *out, size_t len);
/* Asks for room to copy len more bytes; sets bad over the limit. */
bool flatbuf_charge(struct flatbuf *f, uint64_t len);

#endif
