/* SPDX-License-Identifier: MIT */
/* attention - softmax(scale · Q · Kᵀ + bias) · V. */
#ifndef KERNEL_ATTENTION_H
#define KERNEL_ATTENTION_H

#include <stdint.h>

#include "modelfs/kernel.h"

#define REAL float
#define T(name) name
#include "kernel/attention_types.h"
#undef REAL
#undef T

#define REAL double
#define T(name) name##_f64
#include "kernel/attention_types.h"
#undef REAL
#undef T

/*
 * Rotates pairs of the first `dim` elements of each head: (x0, x1) becomes
 * (x0 cos - x1 sin, x0 sin + x1 cos).  Pairs are neighbours (interleaved) or
 * lie dim / 2 apart.  x and y: [batch][heads][len][head_dim] by these steps.
 */
struct rotary {
	size_t batch, heads, len, head_dim, dim;
	size_t step_batch, step_head, step_row;
	bool interleaved;
	const float *cos, *sin; /* rows of dim / 2 */
	const int64_t *rows;	/* [batch][len]: which row */
};
void attention_rotate(const struct kernel *k, const struct rotary *r,
		      const float *x, float *y);

#endif
