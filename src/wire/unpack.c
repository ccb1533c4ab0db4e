/* SPDX-License-Identifier: MIT */
/* unpack - see unpack.h. */
#include "wire/unpack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/err.h"
#include "modelfs/source.h"

#include "wire/unpack_codec.h"

#define INPUT_BYTES 65536
#define OUTPUT_FIRST 65536
/* An encoder that hands out nothing for so long is not at work. */
#define IDLE_STEPS_MAX 4

static const struct unpack_codec *const codecs[] = {&unpack_zlib, &unpack_bzip2,
						    &unpack_lzma};

static const struct unpack_codec *find_codec(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < sizeof(codecs) / sizeof(codecs[0]); i++)
		if (codecs[i]->is_head(p, len))
			return codecs[i];
	return NULL;
}

bool unpack_is_head(const uint8_t *p, size_t len)
{
	return find_codec(p, len) != NULL;
}

struct stream {
	const struct unpack_codec *codec;
	void *state;
	struct source *src;
	uint64_t pos; /* of the next byte to be fetched */
	struct unpack_io io;
	uint8_t *out;
	size_t len, cap;
	uint64_t max;
	uint8_t in[INPUT_BYTES];
};

/* Fills the buffer behind what is left in it. */
static int fetch(struct stream *s, struct err *e)
{
	uint64_t left = source_size(s->src) - s->pos;
	size_t n = INPUT_BYTES - s->io.nin;
	int rc;

	n = left < n ? (size_t)left : n;
	if (s->io.nin > 0)
		memmove(s->in, s->io.in, s->io.nin);
	s->io.in = s->in;
	if (n == 0)
		return 0;
	rc = source_read(s->src, s->in + s->io.nin, n, s->pos, e);
	s->io.nin += n;
	s->pos += n;
	return rc;
}

static int make_room(struct stream *s, struct err *e)
{
	uint64_t cap = s->cap ? 2 * (uint64_t)s->cap : OUTPUT_FIRST;
	uint8_t *out;

	if (s->len == s->cap) {
		if (s->cap >= s->max)
			return err_set(e, EFBIG,
				       "more than %llu bytes, inflated",
				       (unsigned long long)s->max);
		if (cap > s->max)
			cap = s->max;
		/* One byte more: sources in memory end in a NUL. */
		out = realloc(s->out, cap + 1);
		if (!out)
			return err_nomem(e, cap);
		s->out = out;
		s->cap = (size_t)cap;
	}
	s->io.out = s->out + s->len;
	s->io.nout = s->cap - s->len;
	return 0;
}

/* One stream to its end. */
static int unpack_stream(struct stream *s, struct err *e)
{
	int rc = 0, idle = 0;

	while (rc == 0) {
		size_t nin, room;

		if (s->io.nin == 0)
			rc = fetch(s, e);
		if (rc == 0)
			rc = make_room(s, e);
		if (rc < 0)
			return rc;
		nin = s->io.nin;
		room = s->io.nout;
		rc = s->codec->step(s->state, &s->io, e);
		s->len += room - s->io.nout;
		idle = nin == s->io.nin && room == s->io.nout ? idle + 1 : 0;
		if (rc == 0 && idle == IDLE_STEPS_MAX)
			return err_set(e, EIO,
				       "the compressed data ends too early");
	}
	return rc < 0 ? rc : 0;
}

static int unpack_all(struct stream *s, struct err *e)
{
	int rc = fetch(s, e);

	/* What follows the last stream, and is none, is of no interest. */
	while (rc == 0) {
		s->codec = find_codec(s->io.in, s->io.nin);
		if (!s->codec)
			break;
		s->state = s->codec->open();
		if (!s->state)
			return err_nomem(e, 0);
		rc = unpack_stream(s, e);
		s->codec->close(s->state);
		if (rc == 0 && s->io.nin < UNPACK_HEAD)
			rc = fetch(s, e);
	}
	return rc;
}

int unpack_load(struct source *src, uint64_t max, struct source **out,
		struct err *e)
{
	struct stream *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return err_nomem(e, sizeof(*s));
	s->src = src;
	s->max = max;
	s->io.in = s->in;
	rc = unpack_all(s, e);
	/* Nothing inside, or nothing known: room for the NUL all the same. */
	if (rc == 0 && !s->out)
		rc = make_room(s, e);
	if (rc < 0)
		free(s->out);
	else
		rc = source_from_memory(s->out, s->len, source_name(src), out,
					e);
	free(s);
	return rc;
}
