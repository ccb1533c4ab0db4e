/* SPDX-License-Identifier: MIT */
/* unpack_zlib - gzip and zlib. */
#include <errno.h>
#include <stdlib.h>
#include <zlib.h>

#include "modelfs/err.h"

#include "wire/unpack_codec.h"

/* Detects which of the two it is. */
#define EITHER_HEADER 32
#define STEP_MAX (1u << 30)

static bool is_head(const uint8_t *p, size_t len)
{
	if (len >= 3 && p[0] == 0x1f && p[1] == 0x8b && p[2] == 8)
		return true;
	/* zlib: deflate with a window of 32 KiB, and a checksum. */
	return len >= 2 && p[0] == 0x78 && (p[0] << 8 | p[1]) % 31 == 0 &&
	       !(p[1] & 0x20);
}

static void *start(void)
{
	z_stream *z = calloc(1, sizeof(*z));

	if (z && inflateInit2(z, EITHER_HEADER + MAX_WBITS) != Z_OK) {
		free(z);
		return NULL;
	}
	return z;
}

static void finish(void *state)
{
	inflateEnd(state);
	free(state);
}

static int step(void *state, struct unpack_io *io, struct err *e)
{
	z_stream *z = state;
	int status;

	z->next_in = (Bytef *)io->in;
	z->avail_in = io->nin < STEP_MAX ? (uInt)io->nin : STEP_MAX;
	z->next_out = io->out;
	z->avail_out = io->nout < STEP_MAX ? (uInt)io->nout : STEP_MAX;
	status = inflate(z, Z_NO_FLUSH);
	io->nin -= (size_t)(z->next_in - io->in);
	io->nout -= (size_t)(z->next_out - io->out);
	io->in = z->next_in;
	io->out = z->next_out;
	if (status == Z_STREAM_END)
		return 1;
	if (status == Z_OK || status == Z_BUF_ERROR)
		return 0;
	return err_set(e, status == Z_MEM_ERROR ? ENOMEM : EIO,
		       "damaged compressed data");
}

const struct unpack_codec unpack_zlib = {
	.is_head = is_head,
	.open = start,
	.step = step,
	.close = finish,
};
