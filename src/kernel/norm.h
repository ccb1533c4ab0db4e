/* SPDX-License-Identifier: MIT */
/* norm - softmax and normalisations; F32 and F64. */
#ifndef KERNEL_NORM_H
#define KERNEL_NORM_H

#include "kernel/num.h"
#include "modelfs/kernel.h"

enum softmax { SOFTMAX, SOFTMAX_LOG, SOFTMAX_HARD };

/* Along dim of [outer][dim][inner]. */
struct softmax_plan {
	enum softmax kind;
	enum num type;
	size_t outer, dim, inner;
};
void norm_softmax(const struct kernel *k, const struct softmax_plan *p,
		  const void *in, void *out);

/*
 * Rows of n: out = (x - mean) / sqrt(variance + epsilon) [* scale + bias];
 * centred false: no mean is taken off, and the mean square is the variance.
 * mean, inv_std: what was found for each row, or NULL.
 */
struct row_norm {
	enum num type;
	size_t rows, n;
	double epsilon;
	bool centred;
	const void *scale, *bias; /* n each, or NULL */
	void *mean, *inv_std;	  /* of the same type, or NULL */
};
void norm_rows(const struct kernel *k, const struct row_norm *p, const void *in,
	       void *out);

/* [n][channels][inner]: out = x * scale[c] + shift[c]. */
struct channel_affine {
	enum num type;
	size_t n, channels, inner;
	const void *scale, *shift;
};
void norm_channels(const struct kernel *k, const struct channel_affine *p,
		   const void *in, void *out);

/*
 * [n][channels][inner]: x / (bias + alpha / size * sum of squares)^beta, over
 * `size` channels around each.
 */
struct local_norm {
	enum num type;
	size_t n, channels, inner, size;
	double alpha, beta, bias;
};
void norm_local(const struct kernel *k, const struct local_norm *p,
		const void *in, void *out);

#endif
