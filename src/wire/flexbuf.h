/* SPDX-License-Identifier: MIT */
/*
 * flexbuf - reading FlexBuffers (flatbuffers.dev, "FlexBuffers"), values that
 * carry their own types, from memory.
 *
 * A value that does not fit into the buffer is null; lists and maps end
 * there.
 */
#ifndef WIRE_FLEXBUF_H
#define WIRE_FLEXBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum flexbuf_kind {
	FLEXBUF_NULL,
	FLEXBUF_BOOL,
	FLEXBUF_INT,
	FLEXBUF_FLOAT,
	FLEXBUF_STRING, /* keys and blobs, too */
	FLEXBUF_LIST,
	FLEXBUF_MAP
};

struct flexbuf { /* one value */
	const uint8_t *p;
	size_t len;
	uint64_t pos;	/* of the value, or of what it leads to */
	uint8_t type;	/* as stored */
	uint8_t width;	/* bytes of a number there */
	bool is_inside; /* false: null */
};

struct flexbuf flexbuf_root(const void *p, size_t len);
enum flexbuf_kind flexbuf_kind(const struct flexbuf *v);
/* Of FLEXBUF_BOOL, FLEXBUF_INT and FLEXBUF_FLOAT; 0 of any other. */
int64_t flexbuf_int(const struct flexbuf *v);
double flexbuf_float(const struct flexbuf *v);
/* Borrowed from the buffer; "" of any other kind. */
const char *flexbuf_string(const struct flexbuf *v, size_t *len);
/* Of a list or a map; 0 of any other kind. */
uint64_t flexbuf_count(const struct flexbuf *v);
struct flexbuf flexbuf_at(const struct flexbuf *v, uint64_t i);
/* The name of element i of a map; a key as flexbuf_string has it. */
struct flexbuf flexbuf_key(const struct flexbuf *v, uint64_t i);

#endif
