/* SPDX-License-Identifier: MIT */
/*
 * winograd2 - float32 convolution of 3 x 3 windows that move by one: less
 * than half of the multiplications, the weights made ready beforehand.
 */
#ifndef KERNEL_WINOGRAD2_H
#define KERNEL_WINOGRAD2_H

#include "kernel/conv.h"
#include "kernel/fast.h"

/* A matter of the shapes alone. */
bool winograd2_has(const struct conv *v);
/* Floats of the weights' form. */
size_t winograd2_form_size(const struct conv *v);
void winograd2_form(const struct kernel *k, const struct conv *v,
		    const float *weights, float *form);
/* Floats of scratch memory. */
size_t winograd2_scratch(const struct kernel *k, const struct conv *v);
/* finish: rows are output channels; col_bias is NULL; add is like y. */
void winograd2_run(const struct kernel *k, const struct conv *v, const float *x,
		   const float *form, const struct finish *finish, float *y,
		   float *scratch);

#endif
