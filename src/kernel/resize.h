/* SPDX-License-Identifier: MIT */
/* resize - one extent resampled with precomputed weights. */
#ifndef KERNEL_RESIZE_H
#define KERNEL_RESIZE_H

#include "kernel/num.h"
#include "modelfs/kernel.h"

/*
 * out[o][j][i] = sum over t < taps of weight[j * taps + t] *
 * in[o][index[j * taps + t]][i], or *fill where outside[j].  F32 and F64.
 */
struct resize_plan {
	enum num type;
	size_t outer, from, to, inner, taps;
	const int64_t *index;
	const double *weight;
	const uint8_t *outside; /* or NULL */
	double fill;
};
void resize_axis(const struct kernel *k, const struct resize_plan *p,
		 const void *in, void *out);

#endif
