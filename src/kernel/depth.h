/* SPDX-License-Identifier: MIT */
/* depth - float32 convolution with one input channel a group, 2-D. */
#ifndef KERNEL_DEPTH_H
#define KERNEL_DEPTH_H

#include "kernel/conv.h"
#include "kernel/fast.h"

bool depth_has(const struct conv *v);
/* True when x and y may be blocks (kernel/block.h), each for itself. */
bool depth_takes(const struct conv *v);
/* Floats of the weights' form. */
size_t depth_form_size(const struct conv *v);
void depth_form(const struct kernel *k, const struct conv *v,
		const float *weights, float *form);
/* Floats of scratch memory. */
size_t depth_scratch(const struct kernel *k, const struct conv *v);
/*
 * finish: rows are output channels; col_bias is NULL; add is like y.  form
 * NULL: the greatest number of each window (padding does not count).
 */
void depth_run(const struct kernel *k, const struct conv *v, const float *x,
	       const float *form, const struct finish *finish, float *y,
	       float *scratch);

#endif
