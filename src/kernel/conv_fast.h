/* SPDX-License-Identifier: MIT */
/* conv_fast - float32 convolution on the vectors of kernel/fast.h. */
#ifndef KERNEL_CONV_FAST_H
#define KERNEL_CONV_FAST_H

#include "kernel/conv.h"
#include "kernel/fast.h"

/* False: conv_run does it.  A matter of the shapes alone. */
bool conv_fast_has(const struct conv *v);
/* Floats of scratch memory. */
size_t conv_fast_scratch(const struct kernel *k, const struct conv *v);
/* finish: rows are output channels; col_bias is NULL; add is like y. */
void conv_fast_run(const struct kernel *k, const struct conv *v, const float *x,
		   const float *weights, const struct finish *finish, float *y,
		   float *scratch);

#endif
