/* SPDX-License-Identifier: MIT */
/* quant - numbers to and from scaled integers, in float32. */
#ifndef KERNEL_QUANT_H
#define KERNEL_QUANT_H

#include "modelfs/kernel.h"

/*
 * n elements as [outer][dim][inner]; each has a scale and a zero point: one
 * for all (scales 1), one for each place of dim (scales dim), or one for
 * every `block` places of dim, inner and outer apart (blocked).
 */
struct quant_plan {
	size_t outer, dim, inner;
	size_t block; /* 0: not blocked */
	bool single;
	const float *scale, *zero; /* zero may be NULL */
	bool round;		   /* to an integer in [lo, hi] */
	float lo, hi;
};

void quant_to(const struct kernel *k, const struct quant_plan *p,
	      const float *x, float *y);
void quant_from(const struct kernel *k, const struct quant_plan *p,
		const float *x, float *y);

#endif
