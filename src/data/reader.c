/* SPDX-License-Identifier: MIT */
/* reader - see modelfs/reader.h. */
#include "modelfs/reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/source.h"

struct reader *reader_new(struct source *src, uint64_t off, uint64_t len)
{
	struct reader *r = malloc(sizeof(*r));
	uint64_t size = source_size(src);

	if (!r)
		return NULL;
	r->src = src;
	r->off = off < size ? off : size;
	r->end = r->off + (len < size - r->off ? len : size - r->off);
	r->buf_off = 0;
	r->buf_len = 0;
	r->bad = false;
	r->err = (struct err){0};
	return r;
}

void reader_free(struct reader *r)
{
	free(r);
}

uint64_t reader_left(const struct reader *r)
{
	return r->bad ? 0 : r->end - r->off;
}

void reader_fail(struct reader *r, int code, const char *what)
{
	if (r->bad)
		return;
	r->bad = true;
	err_set(&r->err, code, "byte %llu: %s", (unsigned long long)r->off,
		what);
}

/* Makes the byte at r->off the first of the buffer. */
static bool fill(struct reader *r)
{
	uint64_t n = r->end - r->off;
	int rc;

	if (n > READER_BUFFER)
		n = READER_BUFFER;
	rc = source_read(r->src, r->buf, (size_t)n, r->off, &r->err);
	if (rc < 0) {
		r->bad = true;
		return false;
	}
	r->buf_off = r->off;
	r->buf_len = (size_t)n;
	return true;
}

static bool is_buffered(const struct reader *r)
{
	return r->off >= r->buf_off && r->off - r->buf_off < r->buf_len;
}

void reader_bytes(struct reader *r, void *out, size_t len)
{
	uint8_t *dst = out;

	if (len > reader_left(r)) {
		reader_fail(r, EINVAL, "ends too early");
		memset(out, 0, len);
		return;
	}
	while (len > 0) {
		size_t at, n;

		if (!is_buffered(r) && !fill(r)) {
			memset(dst, 0, len);
			return;
		}
		at = (size_t)(r->off - r->buf_off);
		n = r->buf_len - at;
		if (n > len)
			n = len;
		memcpy(dst, r->buf + at, n);
		dst += n;
		len -= n;
		r->off += n;
	}
}

void reader_skip(struct reader *r, uint64_t len)
{
	if (len > reader_left(r))
		reader_fail(r, EINVAL, "ends too early");
	else
		r->off += len;
}

uint8_t reader_u8(struct reader *r)
{
	uint8_t v = 0;

	reader_bytes(r, &v, 1);
	return v;
}

static uint64_t read_le(struct reader *r, size_t width)
{
	uint8_t b[8] = {0};
	uint64_t v = 0;
	size_t i;

	reader_bytes(r, b, width);
	for (i = 0; i < width; i++)
		v |= (uint64_t)b[i] << (8 * i);
	return v;
}

uint32_t reader_u32(struct reader *r)
{
	return (uint32_t)read_le(r, 4);
}

uint64_t reader_u64(struct reader *r)
{
	return read_le(r, 8);
}

uint64_t reader_varint(struct reader *r)
{
	uint64_t v = 0;
	int i;

	for (i = 0; i < 10; i++) {
		uint8_t b = reader_u8(r);

		if (i == 9 && b > 1)
			break;
		v |= (uint64_t)(b & 0x7f) << (7 * i);
		if (!(b & 0x80))
			return r->bad ? 0 : v;
	}
	reader_fail(r, EINVAL, "a number of more than 64 bits");
	return 0;
}

bool reader_fits(const struct reader *r, uint64_t count, size_t min_size)
{
	uint64_t nbytes;

	if (__builtin_mul_overflow(count, (uint64_t)min_size, &nbytes))
		return false;
	return nbytes <= reader_left(r);
}
