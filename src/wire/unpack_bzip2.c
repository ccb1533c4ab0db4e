/* SPDX-License-Identifier: MIT */
/* unpack_bzip2 - bzip2. */
#include <bzlib.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/err.h"

#include "wire/unpack_codec.h"

#define STEP_MAX (1u << 30)

/* A level, then a block or the end of an empty stream. */
static bool is_head(const uint8_t *p, size_t len)
{
	return len >= 10 && memcmp(p, "BZh", 3) == 0 && p[3] >= '1' &&
	       p[3] <= '9' &&
	       (memcmp(p + 4, "\x31\x41\x59\x26\x53\x59", 6) == 0 ||
		memcmp(p + 4, "\x17\x72\x45\x38\x50\x90", 6) == 0);
}

static void *start(void)
{
	bz_stream *z = calloc(1, sizeof(*z));

	if (z && BZ2_bzDecompressInit(z, 0, 0) != BZ_OK) {
		free(z);
		return NULL;
	}
	return z;
}

static void finish(void *state)
{
	BZ2_bzDecompressEnd(state);
	free(state);
}

static int step(void *state, struct unpack_io *io, struct err *e)
{
	bz_stream *z = state;
	unsigned nin = io->nin < STEP_MAX ? (unsigned)io->nin : STEP_MAX;
	unsigned nout = io->nout < STEP_MAX ? (unsigned)io->nout : STEP_MAX;
	int status;

	z->next_in = (char *)io->in;
	z->avail_in = nin;
	z->next_out = (char *)io->out;
	z->avail_out = nout;
	status = BZ2_bzDecompress(z);
	nin -= z->avail_in;
	nout -= z->avail_out;
	io->in += nin;
	io->nin -= nin;
	io->out += nout;
	io->nout -= nout;
	if (status == BZ_STREAM_END)
		return 1;
	if (status == BZ_OK)
		return 0;
	return err_set(e, status == BZ_MEM_ERROR ? ENOMEM : EIO,
		       "damaged compressed data");
}

const struct unpack_codec unpack_bzip2 = {
	.is_head = is_head,
	.open = start,
	.step = step,
	.close = finish,
};
