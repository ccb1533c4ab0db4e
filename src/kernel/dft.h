/* SPDX-License-Identifier: MIT */
/* dft - discrete Fourier transforms, float64. */
#ifndef KERNEL_DFT_H
#define KERNEL_DFT_H

#include "modelfs/kernel.h"

/*
 * in [outer][dim][inner][parts_in], out [outer][m][inner][parts_out]; parts
 * are the real and the imaginary one.  The first n points count (zeros where
 * dim is less); m results are wanted.  half_in: points beyond n / 2 are the
 * conjugates of those before.
 */
struct dft_plan {
	size_t outer, dim, inner, n, m;
	size_t parts_in, parts_out;
	bool inverse, half_in;
};

/* Elements of scratch memory. */
size_t dft_scratch(const struct dft_plan *p);
void dft_run(const struct kernel *k, const struct dft_plan *p, const double *in,
	     double *out, double *scratch);

#endif
