/* SPDX-License-Identifier: MIT */
/* cursor - see modelfs/cursor.h. */
#include "modelfs/cursor.h"

#include <string.h>

struct cursor cursor_make(const void *data, size_t len, uint64_t off)
{
	const uint8_t *p = data;

	return (struct cursor){.p = p, .end = p + len, .off = off};
}

size_t cursor_left(const struct cursor *c)
{
	return c->bad ? 0 : (size_t)(c->end - c->p);
}

const uint8_t *cursor_bytes(struct cursor *c, size_t len)
{
	const uint8_t *p = c->p;

	if (len > cursor_left(c)) {
		c->bad = true;
		return NULL;
	}
	c->p += len;
	c->off += len;
	return p;
}

uint8_t cursor_u8(struct cursor *c)
{
	const uint8_t *p = cursor_bytes(c, 1);

	return p ? p[0] : 0;
}

static uint64_t read_le(struct cursor *c, size_t width)
{
	const uint8_t *p = cursor_bytes(c, width);
	uint64_t v = 0;
	size_t i;

	for (i = 0; p && i < width; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

uint16_t cursor_u16(struct cursor *c)
{
	return (uint16_t)read_le(c, 2);
}

uint32_t cursor_u32(struct cursor *c)
{
	return (uint32_t)read_le(c, 4);
}

uint64_t cursor_u64(struct cursor *c)
{
	return read_le(c, 8);
}

uint64_t cursor_varint(struct cursor *c)
{
	uint64_t v = 0;
	int i;

	for (i = 0; i < 10; i++) {
		uint8_t b = cursor_u8(c);

		if (i == 9 && b > 1)
			break; /* beyond 64 bits */
		v |= (uint64_t)(b & 0x7f) << (7 * i);
		if (!(b & 0x80))
			return c->bad ? 0 : v;
	}
	c->bad = true;
	return 0;
}

const uint8_t *cursor_line(struct cursor *c, size_t *len)
{
	const uint8_t *p = c->p;
	const uint8_t *nl = NULL;

	if (cursor_left(c) > 0)
		nl = memchr(p, '\n', cursor_left(c));
	if (!nl) {
		c->bad = true;
		return NULL;
	}
	*len = (size_t)(nl - p);
	cursor_bytes(c, *len + 1);
	return p;
}

void cursor_skip(struct cursor *c, uint64_t len)
{
	if (len > cursor_left(c))
		c->bad = true;
	else
		cursor_bytes(c, (size_t)len);
}

bool cursor_fits(const struct cursor *c, uint64_t count, size_t min_size)
{
	uint64_t nbytes;

	if (__builtin_mul_overflow(count, (uint64_t)min_size, &nbytes))
		return false;
	return nbytes <= cursor_left(c);
}
