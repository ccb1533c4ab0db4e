/* SPDX-License-Identifier: MIT */
/*
 * conv_block - float32 convolution with output channels side by side in
 * vectors, in one group, 2-D; it takes and makes blocks (kernel/block.h).
 */
#ifndef KERNEL_CONV_BLOCK_H
#define KERNEL_CONV_BLOCK_H

#include "kernel/conv.h"
#include "kernel/fast.h"

/* A matter of the shapes alone. */
bool conv_block_has(const struct conv *v);
/* True when x may be blocks; where it may not, it has too few channels. */
bool conv_block_takes(const struct conv *v);
/* Floats of the weights' form: panels of output channels. */
size_t conv_block_form_size(const struct conv *v);
void conv_block_form(const struct kernel *k, const struct conv *v,
		     const float *weights, float *form);
/* Floats of scratch memory. */
size_t conv_block_scratch(const struct kernel *k, const struct conv *v);
/* finish: rows are output channels; col_bias is NULL; add is like y. */
void conv_block_run(const struct kernel *k, const struct conv *v,
		    const float *x, const float *form,
		    const struct finish *finish, float *y, float *scratch);

#endif
