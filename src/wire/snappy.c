/* SPDX-License-Identifier: MIT */
/*
 * snappy - see snappy.h.
 *
 *	varint: inflated length | elements
 *	tag & 3: 0 literal, 1 copy (11-bit offset), 2 copy (16), 3 copy (32)
 */
#include "wire/snappy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/cursor.h"
#include "modelfs/err.h"

/* A copy of 64 bytes takes three: no block expands more. */
#define RATIO_MAX 32

enum tag { TAG_LITERAL, TAG_COPY_1, TAG_COPY_2, TAG_COPY_4 };

struct output {
	uint8_t *p;
	size_t len, size;
};

static bool put_literal(struct cursor *c, struct output *o, uint8_t tag)
{
	uint64_t len = tag >> 2;
	const uint8_t *p;

	if (len >= 60) {
		unsigned n = (unsigned)len - 59;

		len = 0;
		for (unsigned i = 0; i < n; i++)
			len |= (uint64_t)cursor_u8(c) << (8 * i);
	}
	len++;
	if (c->bad || len > o->size - o->len)
		return false;
	p = cursor_bytes(c, len);
	if (!p)
		return false;
	memcpy(o->p + o->len, p, len);
	o->len += len;
	return true;
}

static bool put_copy(struct cursor *c, struct output *o, uint8_t tag)
{
	size_t len = (tag >> 2) + 1u, off;

	switch (tag & 3) {
	case TAG_COPY_1:
		len = (tag >> 2 & 7) + 4u;
		off = (size_t)(tag >> 5) << 8;
		off |= cursor_u8(c);
		break;
	case TAG_COPY_2:
		off = cursor_u16(c);
		break;
	default:
		off = cursor_u32(c);
		break;
	}
	if (c->bad || off == 0 || off > o->len || len > o->size - o->len)
		return false;
	/* The two may overlap: what was just written is read again. */
	for (size_t i = 0; i < len; i++, o->len++)
		o->p[o->len] = o->p[o->len - off];
	return true;
}

int snappy_inflate(const uint8_t *data, size_t len, uint64_t max, uint8_t **out,
		   size_t *out_len, struct err *e)
{
	struct cursor c = cursor_make(data, len, 0);
	uint64_t size = cursor_varint(&c);
	struct output o = {0};
	bool ok = true;

	if (c.bad || size / RATIO_MAX > len)
		return err_set(e, EIO, "a snappy block of impossible length");
	if (size > max)
		return err_set(e, EFBIG, "a snappy block of %llu bytes",
			       (unsigned long long)size);
	o.size = (size_t)size;
	o.p = malloc(o.size + 1);
	if (!o.p)
		return err_nomem(e, o.size);
	while (ok && cursor_left(&c) > 0) {
		uint8_t tag = cursor_u8(&c);

		ok = (tag & 3) == TAG_LITERAL ? put_literal(&c, &o, tag)
					      : put_copy(&c, &o, tag);
	}
	if (!ok || o.len != o.size) {
		free(o.p);
		return err_set(e, EIO, "a snappy block is damaged");
	}
	*out = o.p;
	*out_len = o.len;
	return 0;
}
