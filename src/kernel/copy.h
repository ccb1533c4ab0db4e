/* SPDX-License-Identifier: MIT */
/* copy - elements moved from one layout to another. */
#ifndef KERNEL_COPY_H
#define KERNEL_COPY_H

#include "modelfs/kernel.h"

#define COPY_RANK_MAX 64

/* dims[i] elements along extent i, `from` and `to` elements apart. */
struct copy_plan {
	size_t rank;
	size_t size; /* bytes of an element */
	size_t dims[COPY_RANK_MAX];
	ptrdiff_t from[COPY_RANK_MAX], to[COPY_RANK_MAX];
};

void copy_strided(const struct kernel *k, const struct copy_plan *p,
		  const void *in, void *out);

/* n elements of `size` bytes, each a copy of *value. */
void copy_fill(const struct kernel *k, void *out, size_t n, size_t size,
	       const void *value);

/*
 * out[i0][i1]… = in[map[0][i0]][map[1][i1]]…, or *fill where an entry is
 * negative.  dims are the output's; strides the input's, in elements.
 */
struct copy_map {
	size_t rank, size;
	size_t dims[COPY_RANK_MAX];
	size_t strides[COPY_RANK_MAX];
	const int64_t *map[COPY_RANK_MAX];
	const void *fill;
};
void copy_mapped(const struct kernel *k, const struct copy_map *p,
		 const void *in, void *out);

/*
 * For each of `outer` slabs of in (dim blocks of `block` bytes): the n blocks
 * idx[0…n) behind each other.  Indices are in [0, dim).
 */
struct gather_plan {
	size_t outer, dim, n, block;
	const int64_t *idx;
};
void copy_gather(const struct kernel *k, const struct gather_plan *p,
		 const void *in, void *out);

#endif
