/* SPDX-License-Identifier: MIT */
/* depth - float32 convolution with one input channel a group, 2-D. */
#ifndef KERNEL_DEPTH_H
#define KERNEL_DEPTH_H

#include "kernel/conv.h"
#include "kernel/fast.h"

bool depth_has(const struct conv *v);
/* Floats of scratch memory. */
size_t depth_scratch(const struct kernel *k, const struct conv *v);
/*
 * finish: rows are output channels; col_bias is NULL; add is like y.  weights
 * NULL: the greatest number of each window (padding does not count).
 */
void depth_run(const struct kernel *k, const struct conv *v, const float *x,
	       const float *weights, const struct finish *finish, float *y,
	       float *scratch);

#endif
