/* SPDX-License-Identifier: MIT */
/* hdf5_filter - deflate, shuffle and fletcher32, undone in memory. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "modelfs/err.h"

#include "wire/hdf5_file.h"

enum filter { FILTER_DEFLATE = 1, FILTER_SHUFFLE = 2, FILTER_FLETCHER32 = 3 };

bool hdf5_filter_known(uint16_t id)
{
	return id >= FILTER_DEFLATE && id <= FILTER_FLETCHER32;
}

struct buffer {
	uint8_t *p; /* owned */
	size_t len;
};

static void replace(struct buffer *b, uint8_t *p, size_t len)
{
	free(b->p);
	b->p = p;
	b->len = len;
}

/* max: no chunk may be larger, with a checksum behind it. */
static int inflate_all(struct buffer *b, size_t max, struct err *e)
{
	uint8_t *out = malloc(max + 1);
	uLongf len = max;
	int status;

	if (!out)
		return err_nomem(e, max);
	status = uncompress(out, &len, b->p, b->len);
	if (status != Z_OK) {
		free(out);
		return err_set(e, EIO, "a chunk does not inflate");
	}
	replace(b, out, len);
	return 0;
}

/* Byte k of all elements comes before byte k + 1 of any. */
static int unshuffle(struct buffer *b, size_t width, struct err *e)
{
	size_t n = width ? b->len / width : 0;
	uint8_t *out;

	if (width < 2 || n == 0)
		return 0;
	out = malloc(b->len + 1);
	if (!out)
		return err_nomem(e, b->len);
	for (size_t k = 0; k < width; k++)
		for (size_t i = 0; i < n; i++)
			out[i * width + k] = b->p[k * n + i];
	memcpy(out + n * width, b->p + n * width, b->len - n * width);
	replace(b, out, b->len);
	return 0;
}

/* Of big-endian 16-bit words; both sums modulo 65535. */
static uint32_t fletcher32(const uint8_t *p, size_t len)
{
	uint32_t sum1 = 0, sum2 = 0;
	size_t words = len / 2;

	while (words > 0) {
		size_t n = words < 360 ? words : 360;

		words -= n;
		for (; n > 0; n--, p += 2) {
			sum1 += (uint32_t)p[0] << 8 | p[1];
			sum2 += sum1;
		}
		sum1 = (sum1 & 0xffff) + (sum1 >> 16);
		sum2 = (sum2 & 0xffff) + (sum2 >> 16);
	}
	if (len % 2) {
		sum1 += (uint32_t)*p << 8;
		sum2 += sum1;
		sum1 = (sum1 & 0xffff) + (sum1 >> 16);
		sum2 = (sum2 & 0xffff) + (sum2 >> 16);
	}
	sum1 = (sum1 & 0xffff) + (sum1 >> 16);
	sum2 = (sum2 & 0xffff) + (sum2 >> 16);
	return sum2 << 16 | sum1;
}

static int check_sum(struct buffer *b, struct err *e)
{
	struct cursor c;

	if (b->len < 4)
		return err_set(e, EIO, "a chunk without its checksum");
	b->len -= 4;
	c = cursor_make(b->p + b->len, 4, 0);
	if (cursor_u32(&c) != fletcher32(b->p, b->len))
		return err_set(e, EIO, "a chunk's checksum is wrong");
	return 0;
}

static int undo(const struct hdf5_filter *f, struct buffer *b, size_t max,
		struct err *e)
{
	switch (f->id) {
	case FILTER_DEFLATE:
		return inflate_all(b, max, e);
	case FILTER_SHUFFLE:
		return unshuffle(b, f->value, e);
	case FILTER_FLETCHER32:
		return check_sum(b, e);
	default:
		return err_set(e, EOPNOTSUPP, "filter %u", f->id);
	}
}

int hdf5_unfilter(const struct hdf5_filter *f, size_t n, uint32_t mask,
		  uint8_t **data, size_t len, size_t size, struct err *e)
{
	struct buffer b = {*data, len};
	int rc = 0;

	for (size_t i = n; rc == 0 && i-- > 0;)
		if (!(mask >> i & 1))
			rc = undo(&f[i], &b, size + 4 * n, e);
	*data = b.p;
	if (rc == 0 && b.len != size)
		rc = err_set(e, EIO, "a chunk of %zu bytes instead of %zu",
			     b.len, size);
	return rc;
}
