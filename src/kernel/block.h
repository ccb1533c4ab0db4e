/* SPDX-License-Identifier: MIT */
/*
 * block - images whose channels lie side by side, as many as a vector has
 * lanes: [batch][channels / lanes][height * width][lanes], known elsewhere as
 * NCHW16c.  Where channels do not fill the last block, it holds numbers that
 * belong to none.
 */
#ifndef KERNEL_BLOCK_H
#define KERNEL_BLOCK_H

#include "kernel/fast.h"
#include "modelfs/kernel.h"

/* Channels of a block on this processor. */
size_t block_lanes(void);

struct images {
	size_t batch, channels, plane; /* plane: pixels of a channel */
};

/* Floats. */
size_t block_size(const struct images *i);
/* From planes to blocks, and back. */
void block_pack(const struct kernel *k, const struct images *i, const float *x,
		float *out);
void block_unpack(const struct kernel *k, const struct images *i,
		  const float *x, float *out);

/*
 * n <= lanes planes of w->in to one block, with padding around it: `rows` rows
 * of `pitch` pixels, the image's first pixel at w->pad.
 */
void block_pack_padded(const struct window *w, const float *x, size_t n,
		       size_t rows, size_t pitch, float *out);

/*
 * What finish says of `vectors` vectors of channels from `channel` on: rows are
 * copied to room, 3 * vectors * lanes floats, where they end within a vector.
 * at: where the result begins.
 */
struct finish block_finish(const struct finish *f, size_t channel,
			   size_t channels, size_t vectors, size_t at,
			   float *room);

#endif
