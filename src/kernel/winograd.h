/* SPDX-License-Identifier: MIT */
/*
 * winograd - float32 convolution with windows of 3 x 3 that do not jump, by
 * Winograd's minimal filtering (Lavin and Gray, 2015), in tiles of 4 x 4 or
 * 2 x 2 results; it takes and makes blocks (kernel/block.h).
 */
#ifndef KERNEL_WINOGRAD_H
#define KERNEL_WINOGRAD_H

#include "kernel/conv.h"
#include "kernel/fast.h"

/* A matter of the shapes alone. */
bool winograd_has(const struct conv *v);
/* Floats of the weights' form. */
size_t winograd_form_size(const struct conv *v);
void winograd_form(const struct kernel *k, const struct conv *v,
		   const float *weights, float *form);
/* Floats of scratch memory. */
size_t winograd_scratch(const struct kernel *k, const struct conv *v);
/* finish: rows are output channels; col_bias is NULL; add is like y. */
void winograd_run(const struct kernel *k, const struct conv *v, const float *x,
		  const float *form, const struct finish *finish, float *y,
		  float *scratch);

#endif
