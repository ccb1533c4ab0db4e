/* SPDX-License-Identifier: MIT */
/*
 * conv_wide - float32 convolution with output channels side by side in
 * vectors: for small images, and windows that jump.
 */
#ifndef KERNEL_CONV_WIDE_H
#define KERNEL_CONV_WIDE_H

#include "kernel/conv.h"
#include "kernel/fast.h"

/* A matter of the shapes alone. */
bool conv_wide_has(const struct conv *v);
/* Floats of the weights' form: panels of output channels. */
size_t conv_wide_form_size(const struct conv *v);
void conv_wide_form(const struct kernel *k, const struct conv *v,
		    const float *weights, float *form);
/* Floats of scratch memory. */
size_t conv_wide_scratch(const struct kernel *k, const struct conv *v);
/* finish: rows are output channels; col_bias is NULL; add is like y. */
void conv_wide_run(const struct kernel *k, const struct conv *v, const float *x,
		   const float *form, const struct finish *finish, float *y,
		   float *scratch);

#endif
