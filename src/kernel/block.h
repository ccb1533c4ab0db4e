/* SPDX-License-Identifier: MIT */
/*
 * block - images whose channels lie side by side, as many as a vector has
 * lanes: [batch][channels / lanes][height * width][lanes], known elsewhere as
 * NCHW16c.  Where channels do not fill the last block, it holds numbers that
 * belong to none.
 */
#ifndef KERNEL_BLOCK_H
#define KERNEL_BLOCK_H

#include <stdbool.h>

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
 * A block with something around it, all extents in pixels: p->x is a block, or
 * (planes, `plane` floats apart) n <= lanes of them; what is around is 0.
 */
void block_pad(const struct padding *p, bool blocked, size_t n, size_t plane);

/*
 * The sums of struct block_tile are made in parts, whose weights stay in the
 * nearest cache: `runs` of all lanes, then `short_runs` of `rest`; `width`
 * weights go with each number.
 */
struct block_runs {
	size_t runs, short_runs, lanes, rest, width;
};

struct block_part {
	size_t first, n, lanes; /* runs [first, first + n), numbers of each */
	size_t weights;		/* where its weights begin, of the panel */
	bool is_last;
};

/* Part number i; false beyond the last one. */
bool block_part(const struct block_runs *r, size_t i, struct block_part *p);

/*
 * Vectors of a panel at most, so that tiles hold as many sums as there are
 * registers for, where `total` vectors and lines of `width` pixels are made.
 */
size_t block_choose(size_t total, size_t width);

/*
 * The weights of a panel's `rows` output channels, ld apart, n numbers of each,
 * as n rows of `width`, ldo apart: output channels side by side, filled up
 * with 0.
 */
void block_turn_weights(const float *weights, size_t ld, size_t rows, size_t n,
			size_t width, float *out, size_t ldo);

/*
 * What finish says of `vectors` vectors of channels from `channel` on: rows are
 * copied to room, 3 * vectors * lanes floats, where they end within a vector.
 * at: where the result begins.
 */
struct finish block_finish(const struct finish *f, size_t channel,
			   size_t channels, size_t vectors, size_t at,
			   float *room);

#endif
