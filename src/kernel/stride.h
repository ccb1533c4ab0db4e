/* SPDX-License-Identifier: MIT */
/*
 * stride - elementwise work on arrays that are broadcast to a common shape.
 */
#ifndef KERNEL_STRIDE_H
#define KERNEL_STRIDE_H

#include "modelfs/kernel.h"

#define STRIDE_IN_MAX 3
#define STRIDE_RANK_MAX 32

struct stride_plan {
	size_t rank, nin;
	size_t dims[STRIDE_RANK_MAX];
	/* How far an input goes with each extent, in elements; 0: repeated. */
	size_t step[STRIDE_IN_MAX][STRIDE_RANK_MAX];
	size_t in_size[STRIDE_IN_MAX], out_size; /* bytes of an element */
};

/*
 * n elements of a row: input i advances by step[i] elements (0 or any other
 * number), the output by one.
 */
typedef void stride_fn(const void *const in[], const size_t step[], void *out,
		       size_t n, const void *arg);

/* Merges extents that lie behind each other in every input. */
void stride_collapse(struct stride_plan *p);

/* Where each input is at element `index`; *column: within the last extent. */
void stride_seek(const struct stride_plan *p, size_t index, size_t at[],
		 size_t *column);

/* Calls fn for all rows; the output is contiguous. */
void stride_for(const struct kernel *k, const struct stride_plan *p,
		const void *const in[], void *out, stride_fn *fn,
		const void *arg);

#endif
