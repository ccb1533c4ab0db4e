/* SPDX-License-Identifier: MIT */
/* unpack_lzma - xz, and .lzma, which came before it. */
#include <errno.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>

#include "modelfs/err.h"

#include "wire/unpack_codec.h"

/* xz -9 needs 65 MiB; a header may ask for 4 GiB. */
#define MEMORY_MAX ((uint64_t)96 << 20)

/* .lzma: lc, lp, pb; size of the dictionary; size, or all ones. */
static bool is_alone(const uint8_t *p, size_t len)
{
	static const uint8_t unknown[8] = {0xff, 0xff, 0xff, 0xff,
					   0xff, 0xff, 0xff, 0xff};

	return len >= 13 && p[0] == 0x5d && p[1] == 0 && p[2] == 0 &&
	       (memcmp(p + 5, unknown, 8) == 0 || (p[11] == 0 && p[12] == 0));
}

static bool is_head(const uint8_t *p, size_t len)
{
	return (len >= 6 && memcmp(p,
				   "\xfd"
				   "7zXZ",
				   6) == 0) ||
	       is_alone(p, len);
}

static void *start(void)
{
	lzma_stream *z = calloc(1, sizeof(*z));

	if (z && lzma_auto_decoder(z, MEMORY_MAX, 0) != LZMA_OK) {
		free(z);
		return NULL;
	}
	return z;
}

static void finish(void *state)
{
	lzma_end(state);
	free(state);
}

static int step(void *state, struct unpack_io *io, struct err *e)
{
	lzma_stream *z = state;
	lzma_ret status;

	z->next_in = io->in;
	z->avail_in = io->nin;
	z->next_out = io->out;
	z->avail_out = io->nout;
	status = lzma_code(z, LZMA_RUN);
	io->in = z->next_in;
	io->nin = z->avail_in;
	io->out = z->next_out;
	io->nout = z->avail_out;
	if (status == LZMA_STREAM_END)
		return 1;
	if (status == LZMA_OK || status == LZMA_BUF_ERROR)
		return 0;
	if (status == LZMA_MEMLIMIT_ERROR)
		return err_set(e, EFBIG, "a dictionary of more than %llu MiB",
			       (unsigned long long)(MEMORY_MAX >> 20));
	return err_set(e, status == LZMA_MEM_ERROR ? ENOMEM : EIO,
		       "damaged compressed data");
}

const struct unpack_codec unpack_lzma = {
	.is_head = is_head,
	.open = start,
	.step = step,
	.close = finish,
};
