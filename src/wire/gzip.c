/* SPDX-License-Identifier: MIT */
/* gzip - see gzip.h. */
#include "wire/gzip.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "modelfs/err.h"
#include "modelfs/source.h"

#define INPUT_BYTES 65536
#define OUTPUT_FIRST 65536
/* Detects which of the two it is. */
#define EITHER_HEADER 32

bool gzip_is_head(const uint8_t *p, size_t len)
{
	if (len >= 3 && p[0] == 0x1f && p[1] == 0x8b && p[2] == 8)
		return true;
	/* zlib: deflate with a window of 32 KiB, and a checksum. */
	return len >= 2 && p[0] == 0x78 && (p[0] << 8 | p[1]) % 31 == 0 &&
	       !(p[1] & 0x20);
}

struct stream {
	z_stream z;
	struct source *src;
	uint64_t in_pos;
	uint8_t *out;
	size_t len, cap;
	uint64_t max;
	uint8_t in[INPUT_BYTES];
};

static int fetch(struct stream *s, struct err *e)
{
	uint64_t left = source_size(s->src) - s->in_pos;
	size_t n = left < INPUT_BYTES ? (size_t)left : INPUT_BYTES;
	int rc;

	if (s->z.avail_in > 0)
		return 0;
	if (n == 0)
		return err_set(e, EIO, "the compressed data ends too early");
	rc = source_read(s->src, s->in, n, s->in_pos, e);
	s->z.next_in = s->in;
	s->z.avail_in = (uInt)n;
	s->in_pos += n;
	return rc;
}

static int make_room(struct stream *s, struct err *e)
{
	uint64_t cap = s->cap ? 2 * (uint64_t)s->cap : OUTPUT_FIRST;
	uint8_t *out;

	if (s->len < s->cap)
		return 0;
	if (s->cap >= s->max)
		return err_set(e, EFBIG, "more than %llu bytes, inflated",
			       (unsigned long long)s->max);
	if (cap > s->max)
		cap = s->max;
	/* One byte more: sources in memory end in a NUL. */
	out = realloc(s->out, cap + 1);
	if (!out)
		return err_nomem(e, cap);
	s->out = out;
	s->cap = (size_t)cap;
	return 0;
}

static int inflate_all(struct stream *s, struct err *e)
{
	int status = Z_OK;

	while (status != Z_STREAM_END) {
		size_t room;
		int rc = fetch(s, e);

		if (rc == 0)
			rc = make_room(s, e);
		if (rc < 0)
			return rc;
		room = s->cap - s->len;
		s->z.next_out = s->out + s->len;
		s->z.avail_out = room > 1u << 30 ? 1u << 30 : (uInt)room;
		room = s->z.avail_out;
		status = inflate(&s->z, Z_NO_FLUSH);
		s->len += room - s->z.avail_out;
		if (status != Z_OK && status != Z_STREAM_END &&
		    status != Z_BUF_ERROR)
			return err_set(e, status == Z_MEM_ERROR ? ENOMEM : EIO,
				       "damaged compressed data");
	}
	return 0;
}

int gzip_load(struct source *src, uint64_t max, struct source **out,
	      struct err *e)
{
	struct stream *s = calloc(1, sizeof(*s));
	int rc = 0;

	if (!s)
		return err_nomem(e, sizeof(*s));
	s->src = src;
	s->max = max;
	if (inflateInit2(&s->z, EITHER_HEADER + MAX_WBITS) != Z_OK) {
		free(s);
		return err_nomem(e, sizeof(s->z));
	}
	rc = inflate_all(s, e);
	inflateEnd(&s->z);
	if (rc < 0)
		free(s->out);
	else
		rc = source_from_memory(s->out, s->len, source_name(src), out,
					e);
	free(s);
	return rc;
}
